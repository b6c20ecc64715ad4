// Nothing jumps under the mouse: while the pointer moves over a list, or the keyboard is in it, its order holds.

const HOLD_MS = 4000;

/** Watches a place; `held()` is true while a person is about to press something there. */
export function holder(place) {
  let movedAt = -HOLD_MS;
  const moved = () => {
    movedAt = performance.now();
  };
  for (const event of ["pointermove", "pointerdown", "focusin"]) place.addEventListener(event, moved);
  place.addEventListener("pointerleave", () => {
    movedAt = -HOLD_MS;
  });
  return () => performance.now() - movedAt < HOLD_MS && place.matches(":hover, :focus-within");
}

/** `wanted` in the order in which `shown` stand already; what is new comes last. */
export function inOrderShown(wanted, shown) {
  const place = new Map(shown.map((key, index) => [key, index]));
  return [...wanted].sort((a, b) => (place.get(a) ?? Infinity) - (place.get(b) ?? Infinity) || 0);
}
