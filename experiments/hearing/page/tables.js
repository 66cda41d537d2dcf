(() => {
  // A table that is wider than its card says so; on a screen its numbers are wrapped first.
  const tell = () => document.querySelectorAll(".scroll").forEach((part) => {
    const over = () => part.scrollWidth > part.clientWidth + 1;
    part.classList.remove("more", "tight");
    if (over() && innerWidth > 760) part.classList.add("tight");
    const more = over();
    part.classList.toggle("more", more);
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", "table that scrolls sideways"]])
      if (more) part.setAttribute(name, value); else part.removeAttribute(name);
  });
  tell();
  addEventListener("resize", tell);
  addEventListener("toggle", tell, true);
})();
