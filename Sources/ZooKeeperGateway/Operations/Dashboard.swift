/// The HTML, the style and the script of the dashboard. Anything that comes from a queue is inserted as text, never as
/// HTML.
enum Dashboard {
    static let html = #"""
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
        <header>
        <h1>Queues</h1>
        <label>Filter <input id="filter" type="search" placeholder="part of a path"></label>
        <p id="state" role="status">…</p>
        </header>
        <main id="queues"></main>
        <dialog id="confirm" aria-labelledby="question">
        <p id="question"></p>
        <p><button type="button" class="yes">Confirm</button> <button type="button" class="no">Do nothing</button></p>
        </dialog>
        <template id="queue">
        <section>
        <h2><button type="button" class="toggle" aria-expanded="false"></button></h2>
        <dl>
        <div><dt>ready</dt><dd data-of="ready"></dd></div>
        <div><dt>leased</dt><dd data-of="leased"></dd></div>
        <div><dt>recovering</dt><dd data-of="partial"></dd></div>
        <div><dt>delayed</dt><dd data-of="delayed"></dd></div>
        <div><dt>dead letters</dt><dd data-of="dead"></dd></div>
        <div><dt>groups</dt><dd data-of="groups"></dd></div>
        <div><dt>consumers</dt><dd data-of="consumers"></dd></div>
        <div><dt>oldest</dt><dd data-of="oldest"></dd></div>
        <div><dt>in/s</dt><dd data-of="sent"></dd></div>
        <div><dt>out/s</dt><dd data-of="done"></dd></div>
        </dl>
        <p class="paused" hidden><strong></strong></p>
        <div class="body" hidden>
        <div class="charts">
        <figure><figcaption>Messages by state: <span class="legend"></span></figcaption><svg class="depth" viewBox="0 0 640 160" role="img"></svg></figure>
        <figure><figcaption>Messages per second: <span class="legend"></span></figcaption><svg class="rate" viewBox="0 0 640 160" role="img"></svg></figure>
        </div>
        <p class="actions"><button type="button" data-activity="send"></button> <button type="button" data-activity="consume"></button> <button type="button" class="drain">Drain</button></p>
        <form class="find"><label>Message <input placeholder="ID or name"></label> <button>Find</button> <button type="button" class="delete" hidden>Delete</button> <output></output></form>
        <details data-list="failures">
        <summary>Failures by job</summary>
        <table><thead><tr><th scope="col">job</th><th scope="col">waiting for a retry</th><th scope="col">dead letters</th><th scope="col">last reason</th><th scope="col">at</th></tr></thead><tbody></tbody></table>
        </details>
        <details data-list="running">
        <summary>Running jobs</summary>
        <table><thead><tr><th scope="col">job</th><th scope="col">ID</th><th scope="col">attempt</th><th scope="col">since</th><th scope="col">progress</th></tr></thead><tbody></tbody></table>
        </details>
        <details data-list="consumers">
        <summary>Consumers</summary>
        <table><thead><tr><th scope="col">consumer</th><th scope="col">state</th><th scope="col">lease</th><th scope="col">age</th><th scope="col">action</th></tr></thead><tbody></tbody></table>
        </details>
        <details data-list="delayed">
        <summary>Delayed messages</summary>
        <table><thead><tr><th scope="col">name</th><th scope="col">due</th><th scope="col">payload</th><th scope="col">action</th></tr></thead><tbody></tbody></table>
        </details>
        <details data-list="dead">
        <summary>Dead letters</summary>
        <p><button type="button" class="all">Redrive all</button></p>
        <table><thead><tr><th scope="col">name</th><th scope="col">reason</th><th scope="col">payload</th><th scope="col">action</th></tr></thead><tbody></tbody></table>
        </details>
        </div>
        </section>
        </template>
        </body>
        </html>
        """#
}
