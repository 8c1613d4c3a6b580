// What the page does beyond links and forms: the theme, times in the reader's zone, live parts.

// ---- theme

const root = document.documentElement
const themes = ["system", "light", "dark"]

function showTheme(button) {
  button.hidden = false
  button.textContent = `Theme: ${root.dataset.theme ?? "system"}`
}

function changeTheme(button) {
  const next = themes[(themes.indexOf(root.dataset.theme ?? "system") + 1) % themes.length]
  if (next === "system") delete root.dataset.theme
  else root.dataset.theme = next
  try { localStorage.setItem("taskslot-theme", next) } catch { /* it holds for this page only */ }
  showTheme(button)
  document.dispatchEvent(new Event("taskslot:theme"))
}

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  showTheme(button)
  button.addEventListener("click", () => changeTheme(button))
}

// ---- times

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" })
const clockOfToday = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" })

function localTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime)
    if (Number.isNaN(at.getTime()) || time.title) continue
    const isToday = at.toDateString() === new Date().toDateString()
    time.title = `${clock.format(at)} (${time.textContent})`
    time.textContent = (isToday ? clockOfToday : clock).format(at)
  }
}

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
for (const place of document.querySelectorAll("[data-zone]")) place.textContent = zone

// An instant in a form is in UTC for the server, and in the reader's zone for the reader.
const pad = (number) => String(number).padStart(2, "0")
for (const field of document.querySelectorAll('input[type="datetime-local"]')) {
  const at = new Date(`${field.defaultValue}Z`)
  if (field.defaultValue) {
    field.value = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${pad(at.getHours())}:${pad(at.getMinutes())}`
  }
  field.form.addEventListener("formdata", ({ formData }) => {
    if (field.value) formData.set(field.name, new Date(field.value).toISOString())
  })
}

// ---- changing only what differs, so that focus, selection and open details stay

function patch(part, html) {
  const fresh = document.createElement("template")
  fresh.innerHTML = html
  localTimes(fresh.content)
  const focused = document.activeElement
  const isInUse = part.matches(":hover") || part.contains(focused)
  merge(part, [...fresh.content.childNodes], isInUse)
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true })
}

// A part made of rows: the event has their order, and the HTML of those that have changed.
function patchRows(part, { order, rows }) {
  const html = order.map((id) => rows[id] ?? "").join("")
  const fresh = document.createElement("template")
  fresh.innerHTML = html
  localTimes(fresh.content)
  const changed = new Map([...fresh.content.children].map((row) => [row.id, row]))
  const focused = document.activeElement
  const isInUse = part.matches(":hover") || part.contains(focused)
  const known = new Map([...part.children].map((row, at) => [row.id, { row, at }]))
  if (isInUse) order = [...order].sort((a, b) => (known.get(a)?.at ?? known.size) - (known.get(b)?.at ?? known.size))
  for (const id of [...known.keys()].filter((id) => !order.includes(id))) known.get(id).row.remove()
  let at = part.firstChild
  for (const id of order) {
    let row = known.get(id)?.row
    if (row && changed.has(id)) update(row, changed.get(id))
    row ??= changed.get(id)
    if (!row) continue
    if (row === at) at = at.nextSibling
    else part.insertBefore(row, at)
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true })
}

function merge(old, fresh, keepOrder) {
  const known = new Map([...old.children].filter((one) => one.id).map((one, at) => [one.id, at]))
  if (keepOrder) {
    const place = (one) => known.get(one.id) ?? known.size
    fresh = fresh.filter((one) => one.id).sort((a, b) => place(a) - place(b)).concat(fresh.filter((one) => !one.id))
  }
  let at = old.firstChild
  for (const one of fresh) {
    let same = one.id ? [...old.children].find((child) => child.id === one.id) : likeThis(at, one)
    if (same === undefined || same === null) {
      old.insertBefore(one, at)
      continue
    }
    if (same !== at) old.insertBefore(same, at)
    at = same.nextSibling
    update(same, one)
  }
  while (at) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}

function likeThis(node, one) {
  return node && !node.id && node.nodeName === one.nodeName && node.nodeType === one.nodeType ? node : null
}

function update(old, fresh) {
  if (old.isEqualNode(fresh)) return
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue
    return
  }
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh)
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name)
  }
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  merge(old, [...fresh.childNodes], false)
}

// ---- live parts: each event has a part's name and its HTML

const AGAIN_MS = 3000
let source = null

function connect() {
  const url = document.body.dataset.live
  if (!url || source || document.hidden) return
  source = new EventSource(url)
  source.onopen = () => { document.getElementById("gone").hidden = true }
  source.onerror = () => {
    document.getElementById("gone").hidden = false
    if (source?.readyState !== EventSource.CLOSED) return
    source = null
    setTimeout(connect, AGAIN_MS)
  }
  const names = new Set([...document.querySelectorAll("[data-part]")].map((part) => part.dataset.part))
  for (const name of names) {
    source.addEventListener(name, (event) => {
      for (const part of document.querySelectorAll("[data-part]")) {
        if (part.dataset.part !== name) continue
        if (event.data.startsWith("{")) patchRows(part, JSON.parse(event.data))
        else patch(part, event.data)
      }
    })
  }
}

// A browser opens at most six connections to a server, so a page in the background has none.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return connect()
  source?.close()
  source = null
})
addEventListener("pagehide", () => source?.close())
addEventListener("pageshow", (event) => {
  if (event.persisted) { source = null; connect() }
})

localTimes(document)
connect()
