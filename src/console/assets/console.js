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

// The console says at least every 14 seconds that it is there.
const SILENCE = 40_000;
// How long the browser may take to reconnect by itself.
const RECONNECT_DEADLINE = 10_000;
// After a lost connection, the next one is tried after this time, doubled each time.
const FIRST_PAUSE = 2_000;
const MAX_PAUSE = 60_000;

function keepUpToDate(url) {
  const state = document.getElementById("live-state");
  let source = null;
  let timer = null;
  let pause = FIRST_PAUSE;
  let since = new Date();
  const later = (action, delay) => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };
  const show = (name, text) => {
    if (state.dataset.state === name) return;
    state.dataset.state = name;
    state.textContent = text;
    // What is not up to date has no colours.
    document.body.classList.toggle("outdated", name === "lost");
  };
  const lost = () => {
    close();
    show("lost", `not up to date since ${since.toISOString().slice(11, 19)}; trying again`);
    later(open, pause);
    pause = Math.min(pause * 2, MAX_PAUSE);
  };
  const alive = () => {
    since = new Date();
    pause = FIRST_PAUSE;
    show("live", "live");
    later(lost, SILENCE);
  };
  const open = () => {
    source = new EventSource(url);
    source.onmessage = (event) => {
      alive();
      apply(event.data);
    };
    source.addEventListener("alive", alive);
    source.onerror = () => {
      // The browser tries again by itself after the end of a stream, but not after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED || state.dataset.state === "lost") {
        lost();
      } else if (state.dataset.state !== "waiting") {
        show("waiting", "reconnecting");
        later(lost, RECONNECT_DEADLINE);
      }
    };
    later(lost, SILENCE);
  };
  const close = () => {
    clearTimeout(timer);
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
