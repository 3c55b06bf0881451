// A stand-in for Lean's LinkSDK, served by `banklink simulate`. It defines one global, `Lean`, with
//
//   Lean.connect({ app_token, customer_id, permissions, bank_identifier?, sandbox?, callback })
//   Lean.reconnect({ app_token, reconnect_id, sandbox?, callback })
//
// Each opens a dialog. The callback gets { status, method, message }: status SUCCESS, CANCELLED or ERROR, method LINK,
// and never an entity id, which only the webhook carries.
"use strict";

(() => {
  const origin = new URL(document.currentScript.src).origin;
  /** How long the simulator may take to answer, in milliseconds. */
  const DEADLINE = 15_000;
  let isOpen = false;

  function element(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }

  /** Loads the dialog's style once. A page that forbids it gets a plain dialog. */
  function loadStyle() {
    const href = `${origin}/sdk.css`;
    if ([...document.styleSheets].some((sheet) => sheet.href === href)) return Promise.resolve();
    return new Promise((resolve) => {
      const link = element("link", { rel: "stylesheet", href });
      link.addEventListener("load", resolve);
      link.addEventListener("error", resolve);
      document.head.append(link);
    });
  }

  async function ask(path, body) {
    const options = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(origin + path, { signal: AbortSignal.timeout(DEADLINE), credentials: "omit", ...options });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail ?? `the simulator answered ${response.status}`);
    return answer;
  }

  /** Checks the options, opens the dialog that `content` fills, and calls back with how it ended. */
  async function run(method, options, required, content) {
    const respond = (status, message) => options?.callback?.({ status, method, message });
    const missing = required.filter((name) => !options?.[name]?.length);
    if (missing.length > 0) {
      console.error(`Lean: missing ${missing.join(", ")}`);
      return respond("ERROR", `Missing ${missing.join(", ")}`);
    }
    if (isOpen) return undefined;
    isOpen = true;
    try {
      const [{ title, body, submit }] = await Promise.all([content(), loadStyle()]);
      const { status, message } = await dialog(title, body, submit);
      isOpen = false;
      return respond(status, message);
    } catch (error) {
      isOpen = false;
      return respond("ERROR", error.message);
    }
  }

  /** Shows a modal dialog until a button or Escape ends it. Success sends `submit()` to the simulator first. */
  function dialog(title, body, submit) {
    const id = `lean-title-${Date.now()}`;
    const button = (text, className) => element("button", { type: "button", className: `lean-button ${className}` }, text);
    const [success, cancel, error] = [button("Success", "lean-primary"), button("Cancel", ""), button("Error", "lean-danger")];
    const node = element("dialog", { className: "lean-dialog" },
      element("p", { className: "lean-tag", textContent: "Simulated bank. No real account is involved." }),
      element("h2", { id, className: "lean-title", textContent: title }),
      ...body,
      element("p", { className: "lean-hint", textContent: "Choose how this ends:" }),
      element("div", { className: "lean-buttons" }, success, cancel, error));
    node.setAttribute("aria-labelledby", id);
    document.body.append(node);
    return new Promise((resolve) => {
      const end = (status, message) => {
        node.close();
        node.remove();
        resolve({ status, message });
      };
      success.addEventListener("click", async () => {
        [success, cancel, error].forEach((control) => { control.disabled = true; });
        node.setAttribute("aria-busy", "true");
        try {
          const { status, message } = await submit();
          end(status, message);
        } catch (problem) {
          end("ERROR", problem.message);
        }
      });
      cancel.addEventListener("click", () => end("CANCELLED", "Customer cancelled"));
      error.addEventListener("click", () => end("ERROR", "The bank reported an error"));
      // Escape. While the simulator is asked, the dialog stays.
      node.addEventListener("cancel", (event) => {
        event.preventDefault();
        if (!cancel.disabled) end("CANCELLED", "Customer cancelled");
      });
      node.showModal();
    });
  }

  /** A radio button for a bank, in its colours. */
  function bankChoice(bank, isChosen) {
    const badge = element("span", { className: "lean-badge", textContent: bank.name[0], ariaHidden: "true" });
    badge.style.backgroundColor = bank.background_color;
    badge.style.color = bank.main_color;
    const input = element("input", { type: "radio", name: "lean-bank", value: bank.identifier, checked: isChosen });
    const kind = element("small", { textContent: bank.bank_type === "SME" ? "Business" : "Personal" });
    return element("label", { className: "lean-bank" }, input, badge, element("span", { className: "lean-bank-name" }, bank.name, " ", kind));
  }

  function permissionChoice(name) {
    const input = element("input", { type: "checkbox", name: "lean-permission", value: name, checked: true });
    return element("label", { className: "lean-permission" }, input, element("span", { textContent: name.replaceAll("_", " ") }));
  }

  function fieldset(legend, className, ...children) {
    return element("fieldset", { className: "lean-group" }, element("legend", { textContent: legend }),
      element("div", { className }, ...children));
  }

  function connect(options) {
    return void run("LINK", options, ["app_token", "customer_id", "permissions"], async () => {
      const { banks } = await ask("/sdk/banks");
      const wanted = banks.find((bank) => bank.identifier === options.bank_identifier);
      const offered = wanted ? [wanted] : banks;
      const choices = fieldset("Choose your bank", "lean-banks", ...offered.map((bank, index) => bankChoice(bank, index === 0)));
      const permissions = fieldset("Allow access to", "lean-permissions", ...options.permissions.map(permissionChoice));
      const chosen = () => offered.find((bank) => bank.identifier === choices.querySelector("input:checked").value);
      const boxes = [...permissions.querySelectorAll("input")];
      // What the bank does not offer cannot be granted. It is offered again, as it was, at a bank that does.
      const adapt = () => boxes.forEach((box) => {
        const isOffered = chosen().permissions.includes(box.value);
        if (isOffered === !box.disabled) return;
        box.disabled = !isOffered;
        box.parentElement.title = isOffered ? "" : "This bank does not offer it";
        [box.checked, box.dataset.wanted] = isOffered ? [box.dataset.wanted === "yes", ""] : [false, box.checked ? "yes" : ""];
      });
      choices.addEventListener("change", adapt);
      adapt();
      const submit = () => ask("/sdk/links", {
        customer_id: options.customer_id,
        bank_identifier: chosen().identifier,
        permissions: boxes.filter((box) => box.checked && !box.disabled).map((box) => box.value),
      });
      return { title: "Connect your bank account", body: [choices, permissions], submit };
    });
  }

  function reconnect(options) {
    return void run("LINK", options, ["app_token", "reconnect_id"], async () => {
      const text = element("p", { textContent: "Your bank asks you to log in again. What you allowed stays as it is." });
      const submit = () => ask("/sdk/reconnects", { reconnect_id: options.reconnect_id });
      return { title: "Log in to your bank again", body: [text], submit };
    });
  }

  globalThis.Lean = Object.freeze({ connect, reconnect });
})();
