// What is wrong with the page for people who use a keyboard, a screen reader, a phone or tired eyes. Returns sentences.
() => {
  const wrong = [];
  const all = selector => [...document.querySelectorAll(selector)];
  const shown = element => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const named = element => element.outerHTML.slice(0, 120).replace(/\s+/g, ' ');

  const name = element => {
    const by = (element.getAttribute('aria-labelledby') || '').split(' ').map(id => document.getElementById(id));
    const labels = element.labels ? [...element.labels] : [];
    const text = [...by, ...labels].filter(Boolean).map(label => label.textContent).join(' ');
    return (element.getAttribute('aria-label') || text || element.textContent || element.title || '').trim();
  };

  // ---- landmarks and names

  if (!document.documentElement.lang) wrong.push('html has no lang');
  if (!document.title.trim()) wrong.push('there is no title');
  for (const [selector, count] of [['main', 1], ['h1', 1], ['nav', 1], ['header', 1]]) {
    const found = all(selector).filter(shown).length;
    if (selector === 'main' || selector === 'h1' ? found !== count : found < count)
      wrong.push(`there are ${found} ${selector}`);
  }
  const navs = all('nav').filter(shown);
  if (navs.length > 1 && navs.some(nav => !nav.getAttribute('aria-label') && !nav.getAttribute('aria-labelledby')))
    wrong.push('one of several nav has no name');
  for (const field of all('input:not([type=hidden]), select, textarea'))
    if (shown(field) && !['submit', 'button'].includes(field.type) && !(field.labels && field.labels.length) && !field.getAttribute('aria-label')
        && !field.getAttribute('aria-labelledby'))
      wrong.push(`a field has no label: ${named(field)}`);
  for (const control of all('a[href], button, summary'))
    if (shown(control) && !name(control) && !control.querySelector('[aria-label], title'))
      wrong.push(`a control has no name: ${named(control)}`);
  for (const table of all('table'))
    if (shown(table) && !table.querySelector('th')) wrong.push(`a table has no th: ${named(table)}`);
  for (const picture of all('svg, img, canvas, progress, meter')) {
    const hidden = picture.closest('[aria-hidden=true]');
    if (shown(picture) && !hidden && !name(picture) && !picture.alt && !picture.closest('[role=img]'))
      wrong.push(`a picture has no name: ${named(picture)}`);
  }
  let level = 0;
  for (const heading of all('h1, h2, h3, h4, h5, h6').filter(shown)) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) wrong.push(`a heading skips a level: ${named(heading)}`);
    level = now;
  }
  const ids = all('[id]').map(element => element.id);
  const twice = new Set(ids.filter((id, at) => ids.indexOf(id) !== at));
  if (twice.size) wrong.push(`ids are there twice: ${[...twice].join(', ')}`);
  for (const by of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for'])
    for (const element of all(`[${by}]`))
      for (const id of element.getAttribute(by).split(' '))
        if (id && !document.getElementById(id)) wrong.push(`${by} names nothing: ${named(element)}`);

  // ---- sideways

  const root = document.documentElement;
  if (root.scrollWidth > window.innerWidth) {
    const wide = all('body *').filter(element => element.getBoundingClientRect().right > window.innerWidth + 1);
    const within = element => wide.some(other => other !== element && element.contains(other));
    wrong.push(`the page is ${root.scrollWidth} wide in a window of ${window.innerWidth}: `
      + wide.filter(element => !within(element)).slice(0, 3).map(named).join(' and '));
  }

  for (const region of all('.scroll.cards'))
    if (region.scrollWidth > region.clientWidth + 1)
      wrong.push(`in a window of ${window.innerWidth}, ${region.scrollWidth} of ${named(region)} are ${region.clientWidth}`);

  // ---- contrast of texts

  // Any colour of CSS as numbers: the canvas knows all notations.
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const known = new Map();
  const rgba = colour => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = (top, below) => [0, 1, 2].map(at => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  const background = element => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    return layers.reduceRight((below, top) => over(top, below), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const opacity = element => {
    let total = 1;
    for (let one = element; one; one = one.parentElement) total *= Number(getComputedStyle(one).opacity);
    return total;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const pale = new Set();
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !shown(element) || element.closest('[aria-hidden=true], :disabled, svg')) continue;
    const style = getComputedStyle(element);
    const below = background(element);
    const ink = rgba(style.color);
    const text = over([ink[0], ink[1], ink[2], ink[3] * opacity(element)], below);
    const [more, less] = [light(text), light(below)].sort((one, other) => other - one);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (more + 0.05) / (less + 0.05);
    if (ratio < (large ? 3 : 4.5))
      pale.add(`${ratio.toFixed(1)}:1 for ${style.color} on ${below.slice(0, 3).map(Math.round)}: ${named(element)}`);
  }
  wrong.push(...[...pale].slice(0, 5));
  return wrong;
}
