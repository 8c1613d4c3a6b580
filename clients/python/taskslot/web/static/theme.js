// Sets the chosen theme before anything is drawn. Without a choice, the page follows the system.
(() => {
  let theme = null
  try { theme = localStorage.getItem("taskslot-theme") } catch { /* no storage: follow the system */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme
})()
