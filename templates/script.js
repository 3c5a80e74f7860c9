// Adds to the pages: local times, live updates, keys, copy buttons and the switch of colours.
// Every page is complete without it.
"use strict";
(() => {
  const root = document.documentElement;
  const remembered = (key, otherwise) => {
    try { return localStorage.getItem(key) ?? otherwise; } catch { return otherwise; }
  };
  const remember = (key, value) => {
    try { localStorage.setItem(key, value); } catch { /* Private windows keep nothing. */ }
  };
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);
  const make = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const choice = (label, options, current, changed) => {
    const select = make("select", {}, ...options.map(([value, text]) =>
      make("option", { value, selected: value === current }, text)));
    select.addEventListener("change", () => changed(select.value));
    return make("label", {}, label + " ", select);
  };

  // Before the first paint.
  const paint = theme => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };
  paint(remembered("theme", "auto"));

  // Times: the zone of the browser; UTC stays in the title.
  const ago = seconds => seconds < 60 ? "just now"
    : seconds < 7200 ? `${Math.floor(seconds / 60)} min ago`
    : seconds < 172800 ? `${Math.floor(seconds / 3600)} h ago`
    : `${Math.floor(seconds / 86400)} days ago`;
  const localize = () => {
    const now = new Date();
    for (const time of all("time[datetime]:not([data-utc] *)")) {
      const at = new Date(time.dateTime);
      if (isNaN(at)) continue;
      const isToday = at.toDateString() === now.toDateString();
      const day = isToday ? "" : at.toLocaleDateString(undefined, { day: "numeric", month: "short" }) + " ";
      const passed = (now - at) / 1000;
      const relative = time.hasAttribute("data-ago") && passed >= 0 ? `, ${ago(passed)}` : "";
      const text = day + at.toLocaleTimeString(undefined, { hour12: false }) + relative;
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // Live updates: only elements with data-live and an id are replaced.
  const live = { every: remembered("live", "5"), etag: null, failures: 0, last: new Date() };
  const isField = element => element?.matches("input, select, textarea");
  const whyPaused = () => {
    if (document.hidden) return "the tab is hidden";
    if (one("dialog[open]")) return "a dialog is open";
    if (isField(document.activeElement)) return "a field has the focus";
    if (all("main input").some(field => field.value !== field.defaultValue)) return "a form is being filled in";
    if (!getSelection().isCollapsed) return "text is selected";
    return null;
  };
  const say = text => { if (live.note && live.note.textContent !== text) live.note.textContent = text; };
  const replace = fresh => {
    const key = of => ["href", "value", "aria-describedby"].map(name => of.getAttribute(name)).join();
    const name = of => of.closest("[id]")?.id + of.form?.action + key(of);
    const focused = name(document.activeElement);
    const open = all("details[open][id]").map(details => details.id);
    const headline = one("#headline")?.textContent;
    for (const old of all("[data-live][id]")) {
      const other = fresh.getElementById(old.id);
      const html = other?.outerHTML;
      if (!other || html === live.html.get(old.id)) continue;
      live.html.set(old.id, html);
      old.replaceWith(document.adoptNode(other));
    }
    for (const id of open) { const details = document.getElementById(id); if (details) details.open = true; }
    if (document.activeElement === document.body) {
      all("main a, main button, main summary").find(of => name(of) === focused)?.focus({ preventScroll: true });
    }
    ready();
    const news = one("#headline")?.textContent;
    if (news && news !== headline) one("#announce").textContent = news;
  };
  const update = async () => {
    if (live.every === "off") return say("");
    const paused = whyPaused();
    if (paused) return say(`paused: ${paused}`);
    try {
      const headers = { Accept: "text/html", ...(live.etag && { "If-None-Match": live.etag }) };
      const answer = await fetch(location.href, { headers, cache: "no-store" });
      if (answer.status !== 304 && !answer.ok) throw new Error(answer.status);
      if (answer.status !== 304) {
        const text = await answer.text();
        // An operator may have begun to read while the answer came.
        if (whyPaused()) return say(`paused: ${whyPaused()}`);
        replace(new DOMParser().parseFromString(text, "text/html"));
        live.etag = answer.headers.get("ETag");
      }
      live.failures = 0;
      live.last = new Date();
      Object.assign(one(".as-of time"), { dateTime: live.last.toISOString(), title: live.last.toISOString() });
      localize();
      say("");
    } catch {
      live.failures += 1;
      if (live.failures >= 3) say(`not updated since ${live.last.toLocaleTimeString(undefined, { hour12: false })}`);
    }
  };
  const tick = async () => {
    await update();
    const seconds = live.failures >= 3 ? 60 : live.every === "off" ? 5 : Number(live.every);
    setTimeout(tick, seconds * 1000);
  };

  // Copy buttons: the clipboard needs a secure context, so over plain HTTP the old command copies.
  const copy = async button => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const field = make("textarea", { value: button.dataset.copy });
      button.after(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      button.focus();
    }
    const text = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = text; }, 1500);
  };

  // What is needed again after a replacement.
  const ready = () => {
    for (const button of all("button[data-copy][hidden]")) {
      button.hidden = false;
      button.addEventListener("click", () => copy(button));
    }
    localize();
  };

  // Keys.
  const rows = () => all("main tbody tr a[href], main [data-row] a[href]").filter((link, position, links) =>
    position === 0 || links[position - 1].closest("tr, [data-row]") !== link.closest("tr, [data-row]"));
  const move = step => {
    const links = rows();
    const at = links.findIndex(link => link === document.activeElement);
    links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
  };
  let goes = false;
  const pressed = event => {
    const { target, key } = event;
    if (remembered("keys", "on") !== "on" || event.ctrlKey || event.altKey || event.metaKey) return;
    if (isField(target) || one("dialog[open]")) return;
    const page = goes && all("nav a").find(link => link.textContent.toLowerCase().startsWith(key));
    goes = key === "g";
    if (page) page.click();
    else if (key === "/") one("#q")?.focus();
    else if (key === "j") move(1);
    else if (key === "k") move(-1);
    else if (key === "?") one("#keys").showModal();
    else return;
    event.preventDefault();
  };
  const help = () => {
    const keys = [["/", "find a call"], ["j, k", "next and previous row"], ["Enter", "open it"],
      ["g and a letter", "go to the page that begins with it"], ["?", "this help"], ["Esc", "close it"]];
    const box = make("input", { type: "checkbox", checked: remembered("keys", "on") === "on" });
    box.addEventListener("change", () => remember("keys", box.checked ? "on" : "off"));
    return make("dialog", { id: "keys", ariaLabel: "Keys" }, make("h2", {}, "Keys"),
      make("dl", {}, ...keys.flatMap(([key, does]) => [make("dt", {}, key), make("dd", {}, does)])),
      make("p", {}, make("label", {}, box, " use these keys")),
      make("form", { method: "dialog" }, make("button", {}, "Close")));
  };

  document.addEventListener("DOMContentLoaded", () => {
    // As the server sent it: times are not local yet.
    live.html = new Map(all("[data-live][id]").map(element => [element.id, element.outerHTML]));
    ready();
    document.body.append(help(), make("p", { id: "announce", className: "hidden", role: "status" }));
    document.addEventListener("keydown", pressed);
    const keys = make("button", { type: "button", className: "small" }, "Keys");
    keys.addEventListener("click", () => one("#keys").showModal());
    const themes = [["auto", "as the system"], ["light", "light"], ["dark", "dark"]];
    const controls = [choice("Colours", themes, remembered("theme", "auto"), theme => {
      remember("theme", theme);
      paint(theme);
    }), keys];
    if (one("[data-live]")) {
      live.note = make("span", { className: "note" });
      one(".as-of")?.append(" ", live.note);
      controls.unshift(choice("Update", [["5", "every 5 s"], ["30", "every 30 s"], ["off", "never"]],
        live.every, every => { remember("live", every); live.every = every; document.activeElement.blur(); }));
      setTimeout(tick, 5000);
      document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });
    }
    one("#controls")?.append(...controls);
    setInterval(localize, 30000);
  });
})();
