(() => {
  const box = document.createElement("div");
  box.id = "term-shown";
  box.hidden = true;
  box.setAttribute("aria-hidden", "true");  // a mark is described by its entry in the glossary
  document.body.append(box);
  let shown = null, leaving = 0, touched = false, before = null;

  const hide = () => { clearTimeout(leaving); box.hidden = true; shown = null; };
  const show = (mark) => {
    clearTimeout(leaving);
    const entry = document.getElementById(`${mark.hash.slice(1)}-text`);
    if (!entry) return;
    box.textContent = entry.textContent;
    box.hidden = false;
    shown = mark;
    const at = mark.getClientRects()[0], gap = 8;
    const left = Math.min(Math.max(gap, at.left), document.documentElement.clientWidth - box.offsetWidth - gap);
    const below = at.bottom + gap + box.offsetHeight <= innerHeight || at.top < box.offsetHeight + gap;
    box.style.left = `${Math.max(gap, left)}px`;
    box.style.top = `${below ? at.bottom + 6 : at.top - box.offsetHeight - 6}px`;
  };
  const markOf = (event) => event.target instanceof Element ? event.target.closest("a.term") : null;

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    if (box.contains(event.target)) { clearTimeout(leaving); return; }
    const mark = markOf(event);
    if (mark) show(mark);
    else if (shown && shown !== document.activeElement) { clearTimeout(leaving); leaving = setTimeout(hide, 250); }
  });
  document.addEventListener("focusin", (event) => { const mark = markOf(event); if (mark && mark.matches(":focus-visible")) show(mark); });
  document.addEventListener("focusout", (event) => { if (markOf(event)) hide(); });
  document.addEventListener("pointerdown", (event) => {
    touched = event.pointerType === "touch";
    before = shown;
    if (shown && markOf(event) !== shown && !box.contains(event.target)) hide();
  });
  // The first tap shows the sentence, a second one on the same word goes to the glossary, as a click or Enter does.
  document.addEventListener("click", (event) => {
    const mark = markOf(event);
    if (!mark) return;
    if (touched && before !== mark) { event.preventDefault(); show(mark); } else hide();
    touched = false;
  });
  document.addEventListener("keydown", (event) => { touched = false; if (event.key === "Escape" && shown) hide(); });
  addEventListener("scroll", hide, { capture: true, passive: true });
  addEventListener("resize", hide);
})();
