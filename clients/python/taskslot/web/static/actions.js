// What bulk actions do beyond forms: one box for all rows, and times in parts of a page that are read again.

const boxes = () => [...document.querySelectorAll('input[type="checkbox"][form="selection"]')]

function countSelected() {
  const all = boxes()
  const chosen = all.filter((box) => box.checked).length
  for (const place of document.querySelectorAll("[data-selected]")) place.textContent = chosen ? ` (${chosen})` : ""
  for (const box of document.querySelectorAll("[data-select-all] input")) {
    box.checked = chosen > 0 && chosen === all.length
    box.indeterminate = chosen > 0 && chosen < all.length
  }
}

for (const label of document.querySelectorAll("[data-select-all]")) {
  label.hidden = boxes().length === 0
  label.addEventListener("change", (event) => {
    for (const box of boxes()) box.checked = event.target.checked
    countSelected()
  })
}
document.addEventListener("change", countSelected)
// A browser that comes back to a page keeps its boxes.
addEventListener("pageshow", countSelected)

document.addEventListener("htmx:afterSwap", () => localTimes(document))
