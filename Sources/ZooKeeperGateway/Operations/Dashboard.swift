/// The HTML, the style and the script of the dashboard. Anything that comes from a queue is inserted as text, never as
/// HTML.
enum Dashboard {
    static let html = """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Queues</title>
        <link rel="icon" href="data:,">
        <link rel="stylesheet" href="page.css">
        <script src="page.js" defer></script>
        </head>
        <body>
        <header><h1>Queues</h1><p id="state">…</p></header>
        <main id="queues"></main>
        <template id="queue">
        <section>
        <h2></h2>
        <dl>
        <div><dt>ready</dt><dd data-of="ready"></dd></div>
        <div><dt>leased</dt><dd data-of="leased"></dd></div>
        <div><dt>recovering</dt><dd data-of="partial"></dd></div>
        <div><dt>dead letters</dt><dd data-of="dead"></dd></div>
        <div><dt>delayed</dt><dd data-of="delayed"></dd></div>
        <div><dt>consumers</dt><dd data-of="consumers"></dd></div>
        <div><dt>oldest</dt><dd data-of="oldest"></dd></div>
        <div><dt>in/s</dt><dd data-of="sent"></dd></div>
        <div><dt>out/s</dt><dd data-of="done"></dd></div>
        </dl>
        <canvas width="640" height="120" role="img" aria-label="Ready messages and message rates of the last five minutes"></canvas>
        <p class="legend"><span class="ready">ready</span> <span class="sent">in/s</span> <span class="done">out/s</span></p>
        <p class="pause" hidden><button type="button" data-activity="send"></button> <button type="button" data-activity="consume"></button> <strong></strong></p>
        <form class="find"><input aria-label="ID or name of a message" placeholder="ID or name of a message"> <button>Find</button> <button type="button" class="delete" hidden>Delete</button> <output></output></form>
        <details data-list="consumers">
        <summary>Consumers</summary>
        <table><thead><tr><th>consumer</th><th>state</th><th>lease</th><th>age</th><th></th></tr></thead><tbody></tbody></table>
        </details>
        <details data-list="delayed">
        <summary>Delayed messages</summary>
        <table><thead><tr><th>name</th><th>due</th><th>payload</th><th></th></tr></thead><tbody></tbody></table>
        </details>
        <details data-list="dead">
        <summary>Dead letters</summary>
        <p><button type="button" class="all">Redrive all</button></p>
        <table><thead><tr><th>name</th><th>reason</th><th>payload</th><th></th></tr></thead><tbody></tbody></table>
        </details>
        </section>
        </template>
        </body>
        </html>
        """

    static let style = """
        :root { color-scheme: light dark; --ready: #2563eb; --sent: #16a34a; --done: #d97706; --line: #8884; }
        * { box-sizing: border-box; }
        body { font: 16px/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
        header { display: flex; align-items: baseline; justify-content: space-between; gap: 1rem; flex-wrap: wrap; }
        h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
        #state { margin: 0; opacity: .7; }
        section { border: 1px solid var(--line); border-radius: .5rem; margin: 1rem 0; padding: 1rem; }
        dl { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fit, minmax(5.5rem, 1fr)); margin: 0 0 .75rem; }
        dt { font-size: .75rem; opacity: .7; } dd { font-size: 1.2rem; font-variant-numeric: tabular-nums; margin: 0; }
        canvas { display: block; height: 7.5rem; width: 100%; border: 1px solid var(--line); border-radius: .25rem; }
        .legend { font-size: .75rem; margin: .25rem 0 .5rem; }
        .legend span::before { content: "■ "; } .ready::before { color: var(--ready); }
        .sent::before { color: var(--sent); } .done::before { color: var(--done); }
        .pause, .find { margin: 0 0 .5rem; } .pause strong { margin-left: .5rem; }
        .find input { font: inherit; max-width: 100%; width: 18rem; } .find output { overflow-wrap: anywhere; }
        table { border-collapse: collapse; font-size: .85rem; width: 100%; display: block; overflow-x: auto; }
        td ol { margin: .25rem 0 0; padding-left: 1.25rem; }
        td, th { border-top: 1px solid var(--line); padding: .3rem .5rem .3rem 0; text-align: left; vertical-align: top; }
        td { overflow-wrap: anywhere; } button { font: inherit; padding: .25rem .75rem; white-space: nowrap; }
        """

    static let script = """
        "use strict";
        const interval = 2000, maximumPoints = 150, queues = new Map();
        // The lists that are open at first, and the message to find: #dead,find=order-42
        const hash = location.hash.slice(1).split(",");
        const url = path => "queues/v1" + path.split("/").map(encodeURIComponent).join("/");
        async function call(method, path, content) {
          const headers = { Accept: "application/json" };
          if (content) headers["Content-Type"] = "application/json";
          const response = await fetch(path, { method, headers, body: content && JSON.stringify(content) });
          if (response.status === 204) return {};
          const value = await response.json();
          if (!response.ok) throw new Error(value.message || response.status);
          return value;
        }
        const activities = { send: "sending", consume: "consuming" };
        const lists = {
          consumers: { query: "", rows: consumerRows },
          delayed: {
            query: "?limit=50", rows: messageRows,
            detail: message => new Date(message.dueTime).toLocaleString(),
            actions: [["Run now", "POST", "/run-now"], ["Cancel", "DELETE", ""]],
          },
          dead: {
            query: "?limit=50", rows: messageRows,
            detail: message => message.cause, actions: [["Redrive", "POST", "/redrive"]],
          },
        };
        function showStatus(text) { document.getElementById("state").textContent = text; }
        function formatAge(seconds) {
          if (seconds == null) return "–";
          if (seconds < 120) return Math.round(seconds) + " s";
          return seconds < 7200 ? Math.round(seconds / 60) + " min" : Math.round(seconds / 3600) + " h";
        }
        function addQueue(path) {
          const part = document.getElementById("queue").content.cloneNode(true), section = part.querySelector("section");
          section.querySelector("h2").textContent = path;
          const queue = { path, section, points: [], last: null };
          for (const name of Object.keys(lists)) {
            const details = listOf(queue, name);
            details.addEventListener("toggle", () => showList(queue, name));
            if (hash.includes(name)) details.open = true;
          }
          const form = section.querySelector(".find"), key = hash.find(part => part.startsWith("find="));
          if (key) try { form.querySelector("input").value = decodeURIComponent(key.slice(5)); } catch { /* malformed */ }
          form.querySelector("input").addEventListener("input", () => { form.querySelector(".delete").hidden = true; });
          form.addEventListener("submit", event => { event.preventDefault(); find(queue, "GET"); });
          form.querySelector(".delete").addEventListener("click", () => find(queue, "DELETE"));
          section.querySelector(".all").addEventListener("click", () => act(queue, "dead", "POST", "/redrive"));
          for (const button of section.querySelectorAll("[data-activity]"))
            button.addEventListener("click", () => changePause(queue, button.dataset.activity));
          document.getElementById("queues").append(part);
          queues.set(path, queue);
          return queue;
        }
        function show(queue, name, text) { queue.section.querySelector(`[data-of="${name}"]`).textContent = text; }
        async function refresh(queue) {
          const withAge = queue.last && queue.last.ready <= 10000;
          const counts = await call("GET", url(queue.path) + (withAge ? "?age=true" : ""));
          const now = performance.now(), last = queue.last;
          let sent = 0, done = 0;
          if (last) {
            const seconds = (now - last.now) / 1000, stored = c => c.ready + c.leased + c.partial + c.dead;
            sent = Math.max(0, counts.created - last.created) / seconds;
            done = Math.max(0, (counts.created - last.created) - (stored(counts) - stored(last))) / seconds;
          }
          queue.last = Object.assign(counts, { now });
          for (const name of ["ready", "leased", "partial", "dead", "delayed", "consumers"]) show(queue, name, counts[name]);
          show(queue, "oldest", formatAge(counts.oldestAgeSeconds));
          show(queue, "sent", sent.toFixed(1));
          show(queue, "done", done.toFixed(1));
          showPause(queue);
          queue.points.push({ ready: counts.ready, sent, done });
          if (queue.points.length > maximumPoints) queue.points.shift();
          draw(queue);
        }
        function showPause(queue) {
          const part = queue.section.querySelector(".pause"), { paused } = queue.last;
          for (const button of part.querySelectorAll("button")) {
            const activity = button.dataset.activity;
            button.textContent = (paused.includes(activity) ? "Resume " : "Pause ") + activities[activity];
          }
          const names = Object.keys(activities).filter(activity => paused.includes(activity));
          part.querySelector("strong").textContent =
            names.length ? "Paused: " + names.map(name => activities[name]).join(" and ") : "";
          part.hidden = false;
        }
        async function changePause(queue, activity) {
          const action = queue.last.paused.includes(activity) ? "/resume" : "/pause";
          try {
            const { paused } = await call("POST", url(queue.path) + action, { activities: [activity] });
            queue.last.paused = paused;
            showPause(queue);
          } catch (error) { showStatus(error.message); }
        }
        function draw(queue) {
          const canvas = queue.section.querySelector("canvas"), box = canvas.getBoundingClientRect();
          const scale = window.devicePixelRatio || 1, width = box.width, height = box.height;
          canvas.width = width * scale; canvas.height = height * scale;
          const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
          context.scale(scale, scale);
          const line = (name, maximum) => {
            context.strokeStyle = style.getPropertyValue("--" + name); context.lineWidth = 1.5; context.beginPath();
            queue.points.forEach((point, index) => {
              const x = width * index / (maximumPoints - 1), y = height - 4 - (height - 18) * point[name] / maximum;
              index ? context.lineTo(x, y) : context.moveTo(x, y);
            });
            context.stroke();
          };
          const maximum = names => Math.max(1, ...queue.points.flatMap(point => names.map(name => point[name])));
          const ready = maximum(["ready"]), rate = maximum(["sent", "done"]);
          line("ready", ready); line("sent", rate); line("done", rate);
          context.fillStyle = getComputedStyle(document.body).color; context.font = "11px system-ui";
          context.fillText(`max. ${ready} ready, ${rate.toFixed(1)}/s`, 6, 12);
        }
        function listOf(queue, name) { return queue.section.querySelector(`[data-list="${name}"]`); }
        // A string becomes a text node, never HTML.
        function element(name, ...content) {
          const node = document.createElement(name);
          node.append(...content);
          return node;
        }
        function failuresOf({ failures = [] }) {
          if (!failures.length) return [];
          const items = failures.map(({ time, consumer, reason }) =>
            element("li", `${new Date(time).toLocaleString()}, ${consumer.slice(0, 200)}: ${reason}`));
          return [element("details", element("summary", `failures: ${failures.length}`), element("ol", ...items))];
        }
        async function showList(queue, name) {
          const details = listOf(queue, name), list = lists[name];
          if (!details.open) return;
          try {
            const response = await call("GET", url(queue.path) + "/" + name + list.query);
            details.querySelector("tbody").replaceChildren(...list.rows(queue, name, response));
          } catch (error) { showStatus(error.message); }
        }
        function row(...cells) {
          return element("tr", ...cells.map(cell => element("td", ...[cell].flat())));
        }
        function actionButton(queue, name, label, method, path) {
          const button = element("button", label);
          button.type = "button";
          button.addEventListener("click", () => act(queue, name, method, path));
          return button;
        }
        function messageRows(queue, name, { messages }) {
          const { detail, actions } = lists[name];
          return messages.map(message => {
            const payload = message.payload ?? "base64: " + message.payloadBase64;
            const path = "/" + encodeURIComponent(message.name);
            const buttons = actions.flatMap(([label, method, suffix]) =>
              [actionButton(queue, name, label, method, path + suffix), " "]);
            return row(message.name, [detail(message), ...failuresOf(message)], payload.slice(0, 200), buttons);
          });
        }
        const places = {
          delayed: message => "delayed until " + new Date(message.dueTime).toLocaleString(),
          leased: message => `leased by ${message.consumer} since ${new Date(message.claimTime).toLocaleString()}`,
          partial: () => "recovering",
          dead: message => "dead: " + message.cause,
        };
        // Shows the message whose ID or name is in the form, or deletes it.
        async function find(queue, method) {
          const form = queue.section.querySelector(".find"), output = form.querySelector("output");
          const key = form.querySelector("input").value.trim(), button = form.querySelector(".delete");
          if (!key) return;
          const folder = /^([0-9]{13}-)?item-[0-9]{3}-/.test(key) ? "/messages/" : "/ids/";
          if (method === "DELETE" && button.hidden) return;
          button.hidden = true;
          // Deletes the message that is shown, also when another one has the same ID by now.
          const path = method === "DELETE" ? "/messages/" + button.dataset.name : folder + encodeURIComponent(key);
          try {
            const message = await call(method, url(queue.path) + path);
            const place = (places[message.place] || (() => message.place))(message);
            const payload = message.payload ?? (message.payloadBase64 ? "base64: " + message.payloadBase64 : "");
            const text = [method === "DELETE" ? "Deleted" : "", message.name ?? "", place, payload.slice(0, 200)];
            output.replaceChildren(text.filter(part => part).join(" · "), ...failuresOf(message));
            button.hidden = method === "DELETE" || !message.name;
            button.dataset.name = encodeURIComponent(message.name ?? "");
          } catch (error) { output.textContent = error.message; }
        }
        // Shows the ten oldest leases of each consumer, because a handler that hangs holds one of them.
        function consumerRows(queue, name, { consumers }) {
          return consumers.flatMap(consumer => {
            const state = consumer.alive ? "alive" : "failed";
            if (!consumer.leases.length) return [row(consumer.name, state, "–", "–", "")];
            return consumer.leases.slice(0, 10).map(lease => {
              const age = formatAge(Math.max(0, (Date.now() - lease.claimTime) / 1000));
              const path = `/leases/${encodeURIComponent(lease.name)}/release`;
              const button = consumer.alive ? actionButton(queue, name, "Release", "POST", path) : "";
              return row(consumer.name, state, lease.name, age, button);
            });
          });
        }
        async function act(queue, name, method, path) {
          try { await call(method, url(queue.path) + "/" + name + path); } catch (error) { showStatus(error.message); }
          await showList(queue, name);
        }
        async function refreshAll() {
          try {
            if (!document.hidden) {
              const { queues: paths } = await call("GET", "queues/v1");
              const problems = await Promise.all(paths.map(path =>
                refresh(queues.get(path) || addQueue(path)).then(() => null, error => path + ": " + error.message)));
              showStatus(paths.length ? problems.filter(problem => problem).join("; ") : "There are no queues yet.");
            }
          } catch (error) { showStatus("The queues could not be listed: " + error.message); }
          setTimeout(refreshAll, interval);
        }
        refreshAll();
        """
}
