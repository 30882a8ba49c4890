/// The style of the dashboard, light and dark.
extension Dashboard {
    static let style = #"""
        :root {
          color-scheme: light dark; --line: #8886; --muted: #555; --text: #1a1a1a; --ground: #fff;
          --ready: #1d4ed8; --leased: #7e22ce; --delayed: #0f766e; --dead: #b91c1c; --sent: #15803d; --done: #b45309;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --muted: #b5b5b5; --text: #ececec; --ground: #161616;
            --ready: #7aa5ff; --leased: #c89bff; --delayed: #4fd1c0; --dead: #ff8a8a; --sent: #62d488; --done: #f5b050;
          }
        }
        * { box-sizing: border-box; }
        body { background: var(--ground); color: var(--text); font: 16px/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
        header { display: flex; align-items: baseline; gap: 1rem; flex-wrap: wrap; }
        h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0 0 .5rem; }
        input { font: inherit; max-width: 100%; }
        #state { color: var(--muted); margin: 0; overflow-wrap: anywhere; }
        section { border: 1px solid var(--line); border-radius: .5rem; margin: .75rem 0; padding: .75rem 1rem; }
        .toggle { background: none; border: 0; color: inherit; cursor: pointer; font-weight: 600; overflow-wrap: anywhere; padding: 0; text-align: left; white-space: normal; }
        .toggle::before { content: "▸ "; } .toggle[aria-expanded="true"]::before { content: "▾ "; }
        :focus-visible { outline: 3px solid var(--ready); outline-offset: 2px; }
        dl { display: grid; gap: .25rem .5rem; grid-template-columns: repeat(auto-fit, minmax(5.2rem, 1fr)); margin: 0; }
        dt { color: var(--muted); font-size: .75rem; } dd { font-size: 1.1rem; font-variant-numeric: tabular-nums; margin: 0; }
        .charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
        figure { margin: .75rem 0 0; } figcaption { font-size: .8rem; } svg { display: block; width: 100%; }
        svg text { fill: var(--muted); font-size: 13px; } svg .axis { stroke: var(--line); } svg polyline { fill: none; stroke-width: 2; }
        .ready { color: var(--ready); stroke: var(--ready); } .leased { color: var(--leased); stroke: var(--leased); }
        .delayed { color: var(--delayed); stroke: var(--delayed); } .dead { color: var(--dead); stroke: var(--dead); }
        .sent { color: var(--sent); stroke: var(--sent); } .done { color: var(--done); stroke: var(--done); }
        .legend span { margin-right: .5rem; white-space: nowrap; } .legend span::before { content: "━ "; }
        .actions, .find { margin: .5rem 0; } .paused { margin: .5rem 0 0; } .find output { display: block; overflow-wrap: anywhere; }
        table { border-collapse: collapse; display: block; font-size: .85rem; overflow-x: auto; width: 100%; }
        td ol { margin: .25rem 0 0; padding-left: 1.25rem; }
        td, th { border-top: 1px solid var(--line); padding: .3rem .5rem .3rem 0; text-align: left; vertical-align: top; }
        td { overflow-wrap: anywhere; } button { font: inherit; padding: .25rem .75rem; white-space: nowrap; }
        dialog { border: 1px solid var(--line); border-radius: .5rem; max-width: 30rem; }
        """#
}
