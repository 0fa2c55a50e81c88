// Pages work without this. It adds keys, a live list, and lets forms go one way at a time.

// Keys: an element with data-key is pressed, or gets the focus if it takes text.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const wanted = [...document.querySelectorAll("[data-key]")].find(
    (element) => element.dataset.key === event.key,
  );
  if (!wanted) return;
  event.preventDefault();
  if (wanted.matches("input")) {
    wanted.focus();
    wanted.select();
  } else {
    wanted.click();
  }
});

// A second key or click must not send a form twice, least of all to the next card.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) event.preventDefault();
  else event.target.dataset.sent = "yes";
});
// Who comes back with the browser's back button may send again.
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

// Who is about to lose something is asked.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-ask]");
  if (button && !confirm(button.dataset.ask)) event.preventDefault();
});

// Boxes: one checks or clears all those of its group.
document.addEventListener("click", (event) => {
  const name = event.target.dataset?.all;
  if (!name) return;
  const boxes = [...document.querySelectorAll(`input[type=checkbox][name="${name}"]`)];
  const checked = !boxes.every((box) => box.checked);
  for (const box of boxes) box.checked = checked;
});

// Live parts of a page: fetched again and again while somebody looks.
for (const part of document.querySelectorAll("[data-refresh]")) {
  const pause = document.querySelector(`[data-pause="${part.id}"]`);
  const isPaused = () => pause?.getAttribute("aria-pressed") === "true";
  pause?.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!isPaused()));
    pause.textContent = isPaused() ? "Go on" : "Pause";
  });
  const refresh = async () => {
    if (!document.hidden && !isPaused() && !part.contains(document.activeElement)) {
      try {
        const answer = await fetch(part.dataset.refresh, { headers: { Accept: "text/html" } });
        // To the form: the session is over. The page itself knows the way back.
        if (answer.redirected) return location.reload();
        if (answer.ok) part.innerHTML = await answer.text();
      } catch {
        part.innerHTML = '<p class="problem">The server does not answer; trying again.</p>';
      }
    }
    setTimeout(refresh, part.dataset.seconds * 1000);
  };
  refresh();
}
