(() => {
  const box = document.querySelector(".compare");
  const range = box.querySelector("input");
  const show = (percent) => box.style.setProperty("--at", `${percent}%`);
  const follow = (event) => {
    const { left, width } = box.getBoundingClientRect();
    const percent = Math.min(100, Math.max(0, (100 * (event.clientX - left)) / width));
    range.value = percent;
    // Not the range's value, which is whole.
    show(percent);
  };
  range.addEventListener("input", () => show(range.value));
  // All of the picture is a handle; the range itself is for the keyboard and for those who do not see the picture.
  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    box.setPointerCapture(event.pointerId);
    follow(event);
    range.focus({ preventScroll: true });
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) follow(event);
  });
  // Else a press would take the focus away again, and drag the image out of the page.
  box.addEventListener("mousedown", (event) => event.preventDefault());
  show(range.value);
})();
