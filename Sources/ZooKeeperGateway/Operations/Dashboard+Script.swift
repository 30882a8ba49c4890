/// The script of the dashboard.
extension Dashboard {
    static let script = #"""
        "use strict";
        // All times are in milliseconds. Open queues are read at each interval, and of the others a few in turn.
        const interval = 2000, chartTime = 300000, othersAtOnce = 10, queues = new Map();
        // The lists that are open at first, and the message to find: #dead,find=order-42
        const hash = location.hash.slice(1).split(",");
        const encoded = path => path.split("/").map(encodeURIComponent).join("/");
        const url = path => "queues/v1" + encoded(path);
        async function call(method, path, content) {
          const headers = { Accept: "application/json" };
          if (content) headers["Content-Type"] = "application/json";
          const response = await fetch(path, { method, headers, body: content && JSON.stringify(content) });
          if (response.status === 204) return {};
          const value = await response.json();
          if (!response.ok) throw Object.assign(new Error(value.message || response.status), { status: response.status });
          return value;
        }
        const activities = { send: "sending", consume: "consuming" };
        const states = ["ready", "leased", "delayed", "dead"], rates = ["sent", "done"];
        const labels = { ready: "ready", leased: "leased", delayed: "delayed", dead: "dead letters", sent: "in", done: "out" };
        const lists = {
          failures: { load: failureRows, columns: 5 },
          running: { load: runningRows, columns: 5 },
          consumers: { load: consumerRows, columns: 5 },
          delayed: {
            load: messageRows, columns: 4,
            detail: message => new Date(message.dueTime).toLocaleString(),
            actions: [["Run now", "POST", "/run-now"], ["Cancel", "DELETE", ""]],
          },
          dead: {
            load: messageRows, columns: 4,
            detail: message => message.cause, actions: [["Redrive", "POST", "/redrive"]],
          },
        };
        function showStatus(text) {
          const state = document.getElementById("state");
          // A screen reader would read the same text again.
          if (state.textContent !== text) state.textContent = text;
        }
        function formatAge(seconds) {
          if (seconds == null) return "–";
          if (seconds < 120) return Math.round(seconds) + " s";
          return seconds < 7200 ? Math.round(seconds / 60) + " min" : Math.round(seconds / 3600) + " h";
        }
        // A string becomes a text node, never HTML.
        function element(name, ...content) {
          const node = document.createElement(name);
          node.append(...content);
          return node;
        }
        // Asks before anything is changed. The safe answer has the focus.
        function confirmed(question) {
          const dialog = document.getElementById("confirm");
          if (dialog.open) return Promise.resolve(false);
          document.getElementById("question").textContent = question;
          return new Promise(resolve => {
            const [yes, no] = ["yes", "no"].map(name => dialog.querySelector("." + name));
            // The event `close` comes too late for a dialog that opens again at once.
            const answer = value => { dialog.close(); resolve(value); };
            yes.onclick = () => answer(true);
            no.onclick = () => answer(false);
            dialog.oncancel = () => resolve(false);
            dialog.showModal();
            no.focus();
          });
        }

        // MARK: Queues

        function addQueue(path, isOpen) {
          const part = document.getElementById("queue").content.cloneNode(true), section = part.querySelector("section");
          const queue = { path, section, points: [], last: null, read: 0 };
          const toggle = section.querySelector(".toggle");
          toggle.textContent = path;
          section.setAttribute("aria-label", "Queue " + path);
          toggle.addEventListener("click", () => open(queue, toggle.getAttribute("aria-expanded") !== "true"));
          for (const [name, names] of [["depth", states], ["rate", rates]])
            section.querySelector("." + name).closest("figure").querySelector(".legend").append(...names.map(name => {
              const item = element("span", labels[name]);
              item.className = name;
              return item;
            }));
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
          section.querySelector(".all").addEventListener("click", () => act(queue, "dead", "Redrive all", "POST", "/redrive"));
          section.querySelector(".drain").addEventListener("click", () => drain(queue));
          for (const button of section.querySelectorAll("[data-activity]"))
            button.addEventListener("click", () => changePause(queue, button.dataset.activity));
          document.getElementById("queues").append(part);
          queues.set(path, queue);
          open(queue, isOpen);
          return queue;
        }
        function open(queue, isOpen) {
          queue.isOpen = isOpen;
          queue.section.querySelector(".toggle").setAttribute("aria-expanded", isOpen);
          queue.section.querySelector(".body").hidden = !isOpen;
          if (isOpen && queue.last) draw(queue);
        }
        function applyFilter() {
          const text = document.getElementById("filter").value;
          for (const queue of queues.values()) queue.section.hidden = !queue.path.includes(text);
        }
        function show(queue, name, text) { queue.section.querySelector(`[data-of="${name}"]`).textContent = text; }
        async function refresh(queue) {
          queue.read = performance.now();
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
          for (const name of ["ready", "leased", "partial", "dead", "delayed", "groups", "consumers"])
            show(queue, name, counts[name] ?? 0);
          show(queue, "oldest", formatAge(counts.oldestAgeSeconds));
          show(queue, "sent", sent.toFixed(1));
          show(queue, "done", done.toFixed(1));
          showPause(queue);
          queue.points.push({ ...Object.fromEntries(states.map(name => [name, counts[name]])), sent, done, now });
          queue.points = queue.points.filter(point => now - point.now <= chartTime);
          if (queue.isOpen) draw(queue);
        }
        function showPause(queue) {
          const { paused } = queue.last, part = queue.section.querySelector(".paused");
          for (const button of queue.section.querySelectorAll("[data-activity]")) {
            const activity = button.dataset.activity;
            button.textContent = (paused.includes(activity) ? "Resume " : "Pause ") + activities[activity];
          }
          const names = Object.keys(activities).filter(activity => paused.includes(activity));
          const left = queue.last.ready + queue.last.leased + queue.last.partial + queue.last.delayed;
          const drained = paused.includes("send") && !paused.includes("consume") && !left ? " The queue is empty." : "";
          part.querySelector("strong").textContent =
            names.length ? "Paused: " + names.map(name => activities[name]).join(" and ") + "." + drained : "";
          part.hidden = !names.length;
        }
        async function setPaused(queue, action, names) {
          try {
            const { paused } = await call("POST", url(queue.path) + action, { activities: names });
            queue.last.paused = paused;
            showPause(queue);
          } catch (error) { showStatus(error.message); }
        }
        async function changePause(queue, activity) {
          if (!queue.last) return;
          const isPaused = queue.last.paused.includes(activity);
          const question = `${isPaused ? "Resume" : "Pause"} ${activities[activity]} of ${queue.path}?`;
          const effect = isPaused ? "" : activity === "send" ? " Every send will fail." : " Messages will wait.";
          if (await confirmed(question + effect)) await setPaused(queue, isPaused ? "/resume" : "/pause", [activity]);
        }
        async function drain(queue) {
          const question = `Drain ${queue.path}? Every send will fail, and consumers handle what is left.`;
          if (!await confirmed(question)) return;
          await setPaused(queue, "/pause", ["send"]);
          await setPaused(queue, "/resume", ["consume"]);
        }

        // MARK: Charts

        // Taken from the document, because the page contains no address.
        const { namespaceURI } = document.getElementById("queue").content.querySelector("svg");
        function graphic(name, attributes, text) {
          const node = document.createElementNS(namespaceURI, name);
          for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
          if (text !== undefined) node.textContent = text;
          return node;
        }
        // The next number of the form 1, 2 or 5 times a power of ten.
        function roundUp(value) {
          const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
          return [1, 2, 5, 10].map(factor => factor * power).find(number => number >= value);
        }
        function draw(queue) {
          const summary = queue.last;
          chart(queue, ".depth", states, value => value.toLocaleString(),
            "Messages by state in the last five minutes. Now: " +
              states.map(name => `${summary[name]} ${labels[name]}`).join(", "));
          const { sent, done } = queue.points.at(-1);
          chart(queue, ".rate", rates, value => value + "/s",
            `Messages per second in the last five minutes. Now: ${sent.toFixed(1)} in, ${done.toFixed(1)} out`);
        }
        function chart(queue, selector, names, format, label) {
          const svg = queue.section.querySelector(selector), now = queue.points.at(-1).now;
          const [left, right, top, bottom] = [70, 632, 10, 138];
          const maximum = roundUp(Math.max(...queue.points.flatMap(point => names.map(name => point[name]))));
          const x = time => left + (right - left) * (1 - (now - time) / chartTime);
          const y = value => bottom - (bottom - top) * value / maximum;
          const parts = [];
          for (const value of [0, maximum / 2, maximum]) {
            parts.push(graphic("line", { class: "axis", x1: left, x2: right, y1: y(value), y2: y(value) }));
            parts.push(graphic("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
          }
          for (let minute = 5; minute >= 0; minute--) {
            const position = x(now - minute * 60000), anchor = minute ? minute === 5 ? "start" : "middle" : "end";
            parts.push(graphic("line", { class: "axis", x1: position, x2: position, y1: bottom, y2: bottom + 4 }));
            const text = minute ? `−${minute} min` : "now";
            parts.push(graphic("text", { x: position, y: bottom + 18, "text-anchor": anchor }, text));
          }
          for (const name of names) {
            const points = queue.points.map(point => `${x(point.now).toFixed(1)},${y(point[name]).toFixed(1)}`).join(" ");
            parts.push(graphic("polyline", { class: name, points }));
          }
          svg.replaceChildren(...parts);
          svg.setAttribute("aria-label", label);
        }

        // MARK: Lists

        function listOf(queue, name) { return queue.section.querySelector(`[data-list="${name}"]`); }
        async function showList(queue, name) {
          const details = listOf(queue, name), list = lists[name];
          if (!details.open) return;
          try {
            const rows = await list.load(queue, name);
            if (!rows.length) {
              const cell = element("td", "none");
              cell.colSpan = list.columns;
              rows.push(element("tr", cell));
            }
            details.querySelector("tbody").replaceChildren(...rows);
          } catch (error) { showStatus(error.message); }
        }
        function row(...cells) {
          return element("tr", ...cells.map(cell => element("td", ...[cell].flat())));
        }
        function time(milliseconds) { return new Date(milliseconds).toLocaleString(); }
        function failuresOf({ failures = [] }) {
          if (!failures.length) return [];
          const items = failures.map(failure =>
            element("li", `${time(failure.time)}, ${failure.consumer.slice(0, 200)}: ${failure.reason}`));
          return [element("details", element("summary", `failures: ${failures.length}`), element("ol", ...items))];
        }
        function actionButton(queue, name, label, method, path, subject) {
          const button = element("button", label);
          button.type = "button";
          button.setAttribute("aria-label", `${label} ${subject}`);
          button.addEventListener("click", () => act(queue, name, label, method, path, subject));
          return button;
        }
        async function messageRows(queue, name) {
          const { detail, actions } = lists[name];
          const { messages } = await call("GET", url(queue.path) + "/" + name + "?limit=50");
          return messages.map(message => {
            const payload = message.payload ?? "base64: " + message.payloadBase64;
            const path = "/" + encodeURIComponent(message.name);
            const buttons = actions.flatMap(([label, method, suffix]) =>
              [actionButton(queue, name, label, method, path + suffix, message.name), " "]);
            return row(message.name, [detail(message), ...failuresOf(message)], payload.slice(0, 200), buttons);
          });
        }
        // Adds up the failures of the messages that wait for a retry, and of the dead letters, by the name of the job.
        async function failureRows(queue) {
          const [delayed, dead] = await Promise.all(["delayed", "dead"].map(name =>
            call("GET", url(queue.path) + "/" + name + "?limit=100")));
          const jobs = new Map();
          const add = (message, key, reason, at) => {
            const name = message.headers?.["zkq-job"] ?? "(no job)";
            const job = jobs.get(name) ?? { retrying: 0, dead: 0, reason: "", at: 0 };
            job[key] += 1;
            if (at >= job.at) Object.assign(job, { reason, at });
            jobs.set(name, job);
          };
          for (const message of delayed.messages) {
            const last = message.failures?.at(-1);
            if (last) add(message, "retrying", last.reason, last.time);
          }
          for (const message of dead.messages) add(message, "dead", message.cause, message.time);
          return [...jobs].sort((a, b) => b[1].at - a[1].at).map(([name, job]) =>
            row(name, String(job.retrying), String(job.dead), job.reason.slice(0, 300), time(job.at)));
        }
        // Reads what the workers write. Any program can write there, so nothing of it is trusted.
        async function runningRows(queue) {
          const path = "znodes/v1" + encoded(queue.path) + "/jobs/workers";
          let names;
          try {
            names = (await call("GET", path + "?view=children")).children ?? [];
          } catch (error) {
            if (error.status === 404) return [];
            throw error;
          }
          const nodes = await Promise.allSettled(names.slice(0, 100).map(name =>
            call("GET", `${path}/${encodeURIComponent(name)}?view=data&dataformat=utf8`)));
          return nodes.flatMap(node => {
            try {
              return JSON.parse(node.value.dataUtf8).map(job => {
                const progress = typeof job.progress === "number" ? Math.round(job.progress * 100) + " %" : "–";
                return row(String(job.name), String(job.id), String(job.attempt), time(Number(job.startedAt)), progress);
              });
            } catch { return []; }
          });
        }
        // Shows the ten oldest leases of each consumer, because a handler that hangs holds one of them.
        async function consumerRows(queue, name) {
          const { consumers } = await call("GET", url(queue.path) + "/consumers");
          return consumers.flatMap(consumer => {
            const state = consumer.alive ? "alive" : "failed";
            if (!consumer.leases.length) return [row(consumer.name, state, "–", "–", "")];
            return consumer.leases.slice(0, 10).map(lease => {
              const age = formatAge(Math.max(0, (Date.now() - lease.claimTime) / 1000));
              const path = `/leases/${encodeURIComponent(lease.name)}/release`;
              const button = consumer.alive ? actionButton(queue, name, "Release", "POST", path, lease.name) : "";
              return row(consumer.name, state, lease.name, age, button);
            });
          });
        }
        async function act(queue, name, label, method, path, subject = "of " + queue.path) {
          if (!await confirmed(`${label} ${subject}?`)) return;
          try { await call(method, url(queue.path) + "/" + name + path); } catch (error) { showStatus(error.message); }
          await showList(queue, name);
        }

        // MARK: One message

        const places = {
          delayed: message => "delayed until " + time(message.dueTime),
          leased: message => `leased by ${message.consumer} since ${time(message.claimTime)}`,
          partial: () => "recovering",
          dead: message => "dead: " + message.cause,
        };
        // Shows the message whose ID or name is in the form, or deletes it.
        async function find(queue, method) {
          const form = queue.section.querySelector(".find"), output = form.querySelector("output");
          const key = form.querySelector("input").value.trim(), button = form.querySelector(".delete");
          if (!key) return;
          const folder = /^([0-9]{13}-)?item-[0-9]{3}-/.test(key) ? "/messages/" : "/ids/";
          if (method === "DELETE" && (button.hidden || !await confirmed(`Delete ${decodeURIComponent(button.dataset.name)}?`)))
            return;
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

        // MARK: Reading

        async function refreshAll() {
          try {
            if (!document.hidden) {
              const { queues: paths } = await call("GET", "queues/v1");
              for (const path of paths) if (!queues.has(path)) addQueue(path, paths.length <= 2);
              for (const [path, queue] of queues) if (!paths.includes(path)) {
                queue.section.remove();
                queues.delete(path);
              }
              applyFilter();
              const all = [...queues.values()].filter(queue => !queue.section.hidden);
              const others = all.filter(queue => !queue.isOpen).sort((a, b) => a.read - b.read).slice(0, othersAtOnce);
              const problems = await Promise.all([...all.filter(queue => queue.isOpen), ...others].map(queue =>
                refresh(queue).then(() => null, error => queue.path + ": " + error.message)));
              showStatus(paths.length ? problems.filter(problem => problem).join("; ") : "There are no queues yet.");
            }
          } catch (error) { showStatus("The queues could not be listed: " + error.message); }
          setTimeout(refreshAll, interval);
        }
        document.getElementById("filter").addEventListener("input", applyFilter);
        refreshAll();
        """#
}
