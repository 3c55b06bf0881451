// The shop's page: lets a customer connect a bank, and shows what the shop's own backend knows about it.
//
// It is what Lean advises: the SDK's callback only says how the dialog ended, so after SUCCESS the page asks its backend, which
// learns the details from the webhook. The webhook may arrive before or after that question: the cursor of the last answer
// says what the page has seen, and the backend answers as soon as there is anything else.
"use strict";

(() => {
  /** How long to wait for the details, and how long to look for more of them after a change, in milliseconds. */
  const DETAILS_DEADLINE = 60_000;
  const FOLLOW_UP = 5_000;
  /** How long the backend may hold one question, in seconds. */
  const WAIT = 30;
  /** The delay after a failed question, in milliseconds. */
  const RETRY = 2_000;

  const byId = (id) => document.getElementById(id);
  const shop = { config: null, customer: "", links: [], cursor: null, watchUntil: 0, isWatching: false };

  function element(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }

  /** State: idle, waiting, done or error. */
  function say(state, text) {
    byId("status").dataset.state = state;
    byId("status").textContent = text;
  }

  /** A request of the shop's backend; throws an Error with the reason that it gives. */
  async function ask(path, options = {}) {
    const response = await fetch(path, { signal: AbortSignal.timeout((WAIT + 20) * 1000), ...options });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail ?? `the shop answered ${response.status}`);
    return answer;
  }

  /** Asks for the customer's links, with `wait` for others than those that are shown. Returns whether they are others. */
  async function refresh(wait) {
    const query = new URLSearchParams({ customer: shop.customer });
    if (wait > 0) query.set("wait", `${wait}s`);
    if (wait > 0 && shop.cursor) query.set("cursor", shop.cursor);
    const { bank_links: links, cursor } = await ask(`/shop/bank-links?${query}`);
    const news = describe(shop.links, links);
    const isOther = cursor !== shop.cursor;
    Object.assign(shop, { links, cursor });
    render();
    return { isOther, news };
  }

  /** What changed from the old links to the new ones, in words. */
  function describe(before, after) {
    const known = new Map(before.map((link) => [link.entity_id, link]));
    const sentences = after.map((link) => {
      const old = known.get(link.entity_id);
      if (!old) return `${nameOf(link)} is connected.`;
      if (old.reconnected_at !== link.reconnected_at) return `${nameOf(link)} is reconnected.`;
      return old.revision === link.revision ? "" : `${nameOf(link)} is up to date.`;
    });
    return sentences.filter(Boolean).join(" ");
  }

  const nameOf = (link) => link.bank?.name ?? link.bank?.identifier ?? "Your bank";

  /** After SUCCESS: asks the backend until the details have come, and a little longer in case there are more. */
  async function watch() {
    shop.watchUntil = Date.now() + DETAILS_DEADLINE;
    if (shop.isWatching) return;
    shop.isWatching = true;
    let hasNews = false;
    try {
      for (let left = DETAILS_DEADLINE; left > 0; left = shop.watchUntil - Date.now()) {
        try {
          const { isOther, news } = await refresh(Math.max(1, Math.min(WAIT, Math.round(left / 1000))));
          if (!isOther) continue;
          hasNews = true;
          say("done", news || "Your banks are up to date.");
          shop.watchUntil = Math.min(shop.watchUntil, Date.now() + FOLLOW_UP);
        } catch (error) {
          say("error", `The shop cannot show your banks: ${error.message}. Trying again…`);
          await new Promise((resolve) => setTimeout(resolve, RETRY));
        }
      }
    } finally {
      shop.isWatching = false;
    }
    if (!hasNews) say("error", "The details have not arrived yet. Reload this page later.");
  }

  /** The SDK's callback. */
  function finished({ status, message }) {
    if (status === "CANCELLED") return say("idle", "Cancelled. Nothing was changed.");
    if (status !== "SUCCESS") return say("error", `Error: ${message}. Nothing was changed.`);
    if (!shop.config.has_api) {
      return say("done", `Success: ${message}. The bank is not shown, because no API is set (--api-url).`);
    }
    say("waiting", "Success. Waiting for the details from your bank…");
    watch();
  }

  function connect() {
    Lean.connect({
      app_token: shop.config.app_token,
      customer_id: shop.customer,
      permissions: shop.config.permissions,
      sandbox: "true",
      callback: finished,
    });
  }

  async function reconnect(link) {
    try {
      const body = JSON.stringify({ customer_id: shop.customer, entity_id: link.entity_id });
      const { reconnect_id } = await ask("/shop/reconnects", { method: "POST", body });
      Lean.reconnect({ app_token: shop.config.app_token, reconnect_id, sandbox: "true", callback: finished });
    } catch (error) {
      say("error", `${nameOf(link)} cannot be reconnected: ${error.message}.`);
    }
  }

  function render() {
    byId("banks").replaceChildren(...shop.links.map(card));
    byId("empty").hidden = shop.links.length > 0;
    byId("empty").textContent = shop.config.has_api
      ? "No bank is linked yet."
      : "No API is set, so this page cannot show linked banks: start the simulator with --api-url and BANKLINK_API_TOKENS.";
  }

  function card(link) {
    const bank = link.bank ?? {};
    const background = color(bank.background_color) ?? "#44403c";
    const name = element("h3", { className: "bank-name", textContent: nameOf(link) });
    name.style.backgroundColor = background;
    name.style.color = readable(color(bank.main_color), background);
    const permissions = (link.permissions ?? []).map((permission) => element("li", { textContent: words(permission) }));
    const again = element("button", { type: "button" }, "Reconnect", hidden(` ${nameOf(link)}`));
    again.addEventListener("click", () => reconnect(link));
    const body = element("div", { className: "bank-body" },
      facts([
        ["Type", bank.type ? words(bank.type.toLowerCase()) : "not known"],
        ["Linked", time(link.linked_at)],
        ["Reconnected", link.reconnected_at ? time(link.reconnected_at) : null],
        ["Colours", colors([bank.main_color, bank.background_color])],
      ]),
      element("ul", { className: "permissions", ariaLabel: "Permissions" },
        ...(permissions.length > 0 ? permissions : [element("li", { textContent: "no permissions" })])),
      again);
    const item = element("li", { className: "bank" }, name, body);
    item.dataset.entityId = link.entity_id;
    return item;
  }

  function facts(rows) {
    const cells = rows.filter(([, value]) => value).flatMap(([term, value]) => [
      element("dt", { textContent: term }), element("dd", {}, value),
    ]);
    return element("dl", { className: "facts" }, ...cells);
  }

  function colors(values) {
    const shown = values.map(color).filter(Boolean).map((value) => {
      const swatch = element("span", { className: "swatch", ariaHidden: "true" });
      swatch.style.backgroundColor = value;
      return element("span", { className: "color" }, swatch, value);
    });
    return shown.length > 0 ? element("span", { className: "colors" }, ...shown) : null;
  }

  const hidden = (text) => element("span", { className: "visually-hidden", textContent: text });
  const words = (text) => text.replaceAll("_", " ").replace(/^sme$/, "SME").replace(/^retail$/, "Retail");

  function time(text) {
    const at = new Date(text ?? NaN);
    if (Number.isNaN(at.getTime())) return "not known";
    return element("time", { dateTime: text, textContent: at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) });
  }

  /** A colour as #rrggbb, or null: anything else that a bank may send is not used. */
  const color = (text) => (/^#[0-9a-f]{6}$/i.test(text ?? "") ? text : null);

  /** The colour if it can be read on the background (WCAG AA, 4.5), else black or white. */
  function readable(text, background) {
    if (text && contrast(text, background) >= 4.5) return text;
    return contrast("#ffffff", background) >= contrast("#000000", background) ? "#ffffff" : "#000000";
  }

  function contrast(one, other) {
    const [light, dark] = [one, other].map(luminance).sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }

  function luminance(value) {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const part = parseInt(value.slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  async function start() {
    shop.config = await ask("/shop/config");
    shop.customer = new URLSearchParams(location.search).get("customer") || shop.config.default_customer_id;
    byId("customer").value = shop.customer;
    byId("connect").addEventListener("click", connect);
    if (shop.config.has_api) await refresh(0);
    render();
    byId("connect").disabled = false;
  }

  start().catch((error) => {
    say("error", `The shop cannot show your banks: ${error.message}.`);
    if (shop.config) byId("connect").disabled = false;
  });
})();
