// Lays out one figure anew: the range of counts that fits what is seen, and names of lines that
// cover neither each other nor leave their lines far. Runs when energies, spectra, lines or the
// figure's size change. Arguments: figure, spectra, lines, labels, log, room.
const energies = figure.x_range
const [low, high] = [Math.min(energies.start, energies.end), Math.max(energies.start, energies.end)]
const column = (source, name) => source.data instanceof Map ? source.data.get(name) : source.data[name]

function seen_range() {
  let most = -Infinity
  let least = Infinity
  const [xs, ys] = [column(spectra, "xs"), column(spectra, "ys")]
  for (let i = 0; i < xs.length; i++) {
    for (let j = 0; j < xs[i].length; j++) {
      const value = ys[i][j]
      if (xs[i][j] < low || xs[i][j] > high || !isFinite(value)) continue
      if (value > most) most = value
      if (value > 0 || !log) least = Math.min(least, value)
    }
  }
  return [least, most]
}

// Sum of squared moves is least for boxes in this order (pool adjacent violators).
function spread(places, width, first, last) {
  const blocks = []
  for (let i = 0; i < places.length; i++) {
    blocks.push([places[i] - i * width, 1])
    while (blocks.length > 1 && blocks[blocks.length - 2][0] > blocks[blocks.length - 1][0]) {
      const [mean, number] = blocks.pop()
      const before = blocks.pop()
      blocks.push([(before[0] * before[1] + mean * number) / (before[1] + number), before[1] + number])
    }
  }
  const starts = blocks.flatMap(([mean, number]) => Array(number).fill(mean))
  const most = last - places.length * width
  return starts.map((start, i) => Math.min(Math.max(start, first), most) + i * width)
}

// A figure that is hidden has no size yet.
function inner_width() {
  try { return figure.inner_width || 600 } catch (error) { return 600 }
}

function place_names() {
  const width = inner_width()
  const size = 12
  const [energy, text, color, weight] = ["energy", "text", "color", "weight"].map((n) => column(lines, n))
  let shown = Array.from(energy.keys()).filter((i) => energy[i] > low && energy[i] < high)
  const most = Math.floor(width / size)
  if (shown.length > most) {
    shown = shown.sort((a, b) => weight[b] - weight[a]).slice(0, most)
  }
  shown.sort((a, b) => energy[a] - energy[b])
  const scale = (high - low) / width
  const places = shown.map((i) => (energy[i] - low) / scale - size / 2)
  const at = spread(places, size, 0, width).map((left) => low + (left + size / 2) * scale)
  labels.data = {
    x: at,
    energy: shown.map((i) => energy[i]),
    text: shown.map((i) => text[i]),
    color: shown.map((i) => color[i]),
  }
}

const [least, most] = seen_range()
const named = column(lines, "energy").length > 0
const counts = figure.y_range
if (isFinite(most)) {
  if (log) {
    const start = Math.max(least, most * 1e-5) / 1.5
    const decades = Math.log10(Math.max(most, start * 10) / start)
    counts.setv({ start: start, end: start * 10 ** (decades / (named ? 1 - room : 0.95)) })
  } else {
    const start = Math.min(0, least)
    counts.setv({ start: start, end: start + Math.max(most - start, 1e-12) / (named ? 1 - room : 0.95) })
  }
}
place_names()
