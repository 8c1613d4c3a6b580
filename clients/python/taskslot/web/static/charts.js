// Draws the charts from the samples of the page's own process, and follows them.
(() => {
  const every = 5000
  const holder = document.querySelector("[data-charts]")
  const units = { rate: (v) => `${round(v)}/s`, count: (v) => short(v), ms: (v) => span(v) }
  // The steps of an axis of times, in ms: round numbers of ms, s, min and h.
  const spans = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3,
    1800e3, 3600e3, 2 * 3600e3, 4 * 3600e3, 8 * 3600e3, 24 * 3600e3, 7 * 24 * 3600e3]
  let marks = []
  let plots = []

  function round(value) { return value >= 100 ? Math.round(value) : Math.round(value * 100) / 100 }
  function short(value) {
    return value >= 1e6 ? `${round(value / 1e6)}M` : value >= 1e4 ? `${round(value / 1e3)}k` : `${round(value)}`
  }
  // As `figures.span`, which the tables have.
  function span(ms) {
    const two = (number) => String(Math.floor(number)).padStart(2, "0")
    if (ms < 1e3) return `${Math.floor(ms)}ms`
    if (ms < 10e3) return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`
    if (ms < 60e3) return `${Math.floor(ms / 1e3)}s`
    if (ms < 3600e3) return `${Math.floor(ms / 60e3)}m${two(ms % 60e3 / 1e3)}`
    if (ms < 86400e3) return `${Math.floor(ms / 3600e3)}h${two(ms % 3600e3 / 60e3)}`
    return `${Math.floor(ms / 86400e3)}d`
  }
  // The time of day; at midnight, the date.
  const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
  const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" })
  function clock(at) {
    const date = new Date(at * 1000)
    return date.getHours() || date.getMinutes() || date.getSeconds() ? hours.format(date) : days.format(date)
  }
  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim() }

  // A dashed line and a text at each mark. The text is drawn on a canvas, so it can't be anything but text.
  function drawMarks(plot) {
    const { ctx, bbox } = plot
    ctx.save()
    ctx.strokeStyle = ctx.fillStyle = colour("--dim")
    ctx.font = `${11 * devicePixelRatio}px system-ui`
    ctx.setLineDash([4, 4])
    for (const { at, text } of marks) {
      const x = plot.valToPos(at, "x", true)
      if (x < bbox.left || x > bbox.left + bbox.width) continue
      ctx.beginPath()
      ctx.moveTo(x, bbox.top)
      ctx.lineTo(x, bbox.top + bbox.height)
      ctx.stroke()
      const isRight = x > bbox.left + bbox.width / 2
      ctx.textAlign = isRight ? "right" : "left"
      ctx.fillText(text.slice(0, 30), x + (isRight ? -5 : 5) * devicePixelRatio, bbox.top + 12 * devicePixelRatio)
    }
    ctx.restore()
  }

  function axis(values) {
    return { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, ...values }
  }

  function draw(element, { times, series }) {
    const names = JSON.parse(element.dataset.chart)
    const unit = units[element.dataset.unit]
    const show = (_, value) => (value == null ? "–" : unit(value))
    const steps = element.dataset.unit === "ms" ? { incrs: spans } : {}
    const strokes = [colour("--link"), colour("--look")]
    element.replaceChildren()
    return new uPlot({
      width: element.clientWidth, height: 190, hooks: { draw: [drawMarks] }, cursor: { sync: { key: "taskslot" }, drag: { x: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1e-9) * 1.08 || 1] } },
      axes: [axis({ space: 70, size: 28, values: (_, all) => all.map(clock) }), axis({ size: 64, values: (_, all) => all.map(unit), ...steps })],
      series: [{ value: (_, at) => (at == null ? "–" : new Date(at * 1000).toLocaleTimeString()) },
        ...names.map(([, label], at) => ({ label, stroke: strokes[at], width: 1.5, spanGaps: true, value: show, points: { show: false } }))],
    }, [times, ...names.map(([name]) => series[name])], element)
  }

  async function follow() {
    if (document.hidden) return
    try {
      const answer = await fetch(holder.dataset.charts, { headers: { accept: "application/json" } })
      if (!answer.ok) return
      const found = await answer.json()
      marks = found.marks
      const elements = [...document.querySelectorAll("[data-chart]")]
      if (!plots.length) plots = elements.map((element) => draw(element, found))
      else plots.forEach((plot, at) => {
        const names = JSON.parse(elements[at].dataset.chart)
        plot.setData([found.times, ...names.map(([name]) => found.series[name])])
      })
    } catch { /* the page's process is away: app.js says so */ }
  }

  function again() {
    plots.forEach((plot) => plot.destroy())
    plots = []
    follow()
  }

  addEventListener("resize", () => plots.forEach((plot) => plot.setSize({ width: plot.root.parentNode.clientWidth, height: 190 })))
  document.addEventListener("taskslot:theme", again)
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again)
  document.addEventListener("visibilitychange", follow)
  follow()
  setInterval(follow, every)
})()
