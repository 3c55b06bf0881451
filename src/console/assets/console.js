// Live parts of pages, and ticks in lists. Every page works without this script.
"use strict";

// Puts the sections of a fragment in place of those with the same ids, where something has changed. What a person is using stays.
function apply(fragment) {
  const parsed = new DOMParser().parseFromString(fragment, "text/html");
  for (const next of parsed.body.querySelectorAll("section[id]")) {
    const current = document.getElementById(next.id);
    if (!current || current.outerHTML === next.outerHTML) continue;
    if (current.contains(document.activeElement) || holdsSelection(current)) continue;
    if (current.hasAttribute("aria-live")) {
      // The element itself stays, so that a screen reader hears of the change.
      current.replaceChildren(...next.childNodes);
    } else {
      current.replaceWith(next);
    }
  }
}

function holdsSelection(element) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && element.contains(selection.anchorNode);
}

function keepUpToDate(url) {
  const state = document.getElementById("live-state");
  let source = null;
  const open = () => {
    source = new EventSource(url);
    source.onmessage = (event) => {
      state.textContent = "live";
      apply(event.data);
    };
    source.onerror = () => {
      state.textContent = source.readyState === EventSource.CLOSED ? "not live; reload the page" : "reconnecting";
    };
  };
  const close = () => {
    if (source) source.close();
    source = null;
  };
  // A page that is not seen need not be up to date.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : source || open()));
  if (!document.hidden) open();
}

function countTicks(form) {
  const all = form.querySelector("[data-tick-all]");
  const ticks = [...form.querySelectorAll('input[type="checkbox"][name="id"]')];
  const update = () => {
    const ticked = ticks.filter((tick) => tick.checked).length;
    for (const count of form.querySelectorAll("[data-tick-count]")) count.textContent = String(ticked);
    for (const button of form.querySelectorAll("[data-needs-ticks]")) button.disabled = ticked === 0;
    if (all) {
      all.checked = ticked > 0 && ticked === ticks.length;
      all.indeterminate = ticked > 0 && ticked < ticks.length;
    }
  };
  if (all) {
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const tick of ticks) tick.checked = all.checked;
      update();
    });
  }
  form.addEventListener("change", update);
  update();
}

if (document.body.dataset.live) keepUpToDate(document.body.dataset.live);
for (const form of document.querySelectorAll("form[data-ticks]")) countTicks(form);
