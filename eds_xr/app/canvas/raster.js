// Pixels of strokes and regions, the same that eds_xr.segmentation.rois.add_pixels marks: every
// expression has the order of operations of the Python one, so that both round alike.
// Points are [y, x] in pixels from the upper left corner; pixel (i, j) covers [i, i + 1).

const MAX_STEPS = 1000000

// Call put(row, first, last) for runs of pixels of a stroke; last is one beyond the run.
// A region of several paths has them in `points` and `more`.
function strokeRuns({ kind, points, width, more }, shape, put) {
  const paths = more && more.length ? [points, ...more] : [points]
  if (kind === "polygon") polygonRuns(paths, shape, put)
  else if (kind === "rectangle" || kind === "oval") frameRuns(kind, points, shape, put)
  else if (kind === "points") for (const p of paths.flat()) putPixel(Math.floor(p[0]), Math.floor(p[1]), shape, put)
  else for (const path of paths) lineRuns(path, width, shape, put)
}

function lineRuns(points, width, shape, put) {
  const n = Math.max(points.length - 1, 1)
  for (let i = 0; i < n; i++) {
    segmentRuns(points[i], points[points.length > 1 ? i + 1 : i], width, shape, put)
  }
}

function segmentRuns(start, stop, width, shape, put) {
  const dy = stop[0] - start[0], dx = stop[1] - start[1]
  const steps = Math.min(Math.ceil(Math.max(Math.abs(dy), Math.abs(dx))), MAX_STEPS)
  const n = Math.max(steps, 1)
  for (let k = 0; k <= steps; k++) { // multiplied first, as in Python: whole pixels are exact
    putPixel(Math.floor(start[0] + k * dy / n), Math.floor(start[1] + k * dx / n), shape, put)
  }
  if (width <= 1) return
  const half = width / 2, length2 = Math.max(dy * dy + dx * dx, 1e-12)
  const [y0, y1] = centresBetween(Math.min(start[0], stop[0]) - half,
    Math.max(start[0], stop[0]) + half, shape[0])
  const [x0, x1] = centresBetween(Math.min(start[1], stop[1]) - half,
    Math.max(start[1], stop[1]) + half, shape[1])
  const inside = (i, j) => {
    const y = i + 0.5 - start[0], x = j + 0.5 - start[1]
    const along = Math.min(Math.max((y * dy + x * dx) / length2, 0), 1)
    const ay = y - along * dy, ax = x - along * dx
    return ay * ay + ax * ax <= half * half
  }
  for (let i = y0; i < y1; i++) rowRuns(i, x0, x1, inside, put)
}

function frameRuns(kind, points, shape, put) {
  const [low, high] = extent(points)
  const [y0, y1] = centresBetween(low[0], high[0], shape[0])
  const [x0, x1] = centresBetween(low[1], high[1], shape[1])
  const centre = [0, 1].map(k => (low[k] + high[k]) / 2)
  const radius = [0, 1].map(k => Math.max((high[k] - low[k]) / 2, 1e-9))
  const inside = (i, j) => {
    if (kind === "rectangle") return true
    const y = (i + 0.5 - centre[0]) / radius[0], x = (j + 0.5 - centre[1]) / radius[1]
    return y * y + x * x <= 1
  }
  for (let i = y0; i < y1; i++) rowRuns(i, x0, x1, inside, put)
}

// What an odd number of paths encloses.
function polygonRuns(paths, shape, put) {
  const moved = paths.map(path => [path.map(p => p[1] - 0.5), path.map(p => p[0] - 0.5)])
  const [low, high] = extent(paths.flat())
  const [y0, x0] = [0, 1].map(k => Math.max(0, Math.floor(low[k] - 0.5)))
  const [y1, x1] = [0, 1].map(k => Math.min(shape[k], Math.ceil(high[k] - 0.5) + 1))
  const inside = (i, j) => moved.reduce((odd, [xs, ys]) => odd !== inPolygon(xs, ys, j, i), false)
  for (let i = y0; i < y1; i++) rowRuns(i, x0, x1, inside, put)
}

function rowRuns(i, x0, x1, inside, put) {
  let first = -1
  for (let j = x0; j <= x1; j++) {
    const within = j < x1 && inside(i, j)
    if (within && first < 0) first = j
    if (!within && first >= 0) { put(i, first, j); first = -1 }
  }
}

// O'Rourke's test; corners and edges belong to the polygon.
function inPolygon(xs, ys, x, y) {
  const eps = 1e-12, n = xs.length
  let left = 0, right = 0, x1 = xs[n - 1] - x, y1 = ys[n - 1] - y
  for (let i = 0; i < n; i++) {
    const x0 = xs[i] - x, y0 = ys[i] - y
    if (-eps < x0 && x0 < eps && -eps < y0 && y0 < eps) return true
    if ((y0 > 0) !== (y1 > 0) && (x0 * y1 - x1 * y0) / (y1 - y0) > 0) right++
    if ((y0 < 0) !== (y1 < 0) && (x0 * y1 - x1 * y0) / (y1 - y0) < 0) left++
    x1 = x0
    y1 = y0
  }
  return (right & 1) !== (left & 1) || (right & 1) === 1
}

function putPixel(y, x, shape, put) {
  if (y >= 0 && y < shape[0] && x >= 0 && x < shape[1]) put(y, x, x + 1)
}

// First row whose centre is at or beyond `low`, and one beyond the last at or before `high`.
function centresBetween(low, high, size) {
  const first = Math.min(Math.max(Math.ceil(low - 0.5), 0), size)
  return [first, Math.min(Math.max(Math.floor(high - 0.5) + 1, first), size)]
}

function extent(points) {
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity]
  for (const p of points) {
    for (const k of [0, 1]) {
      if (p[k] < low[k]) low[k] = p[k]
      if (p[k] > high[k]) high[k] = p[k]
    }
  }
  return [low, high]
}

// Painted values of an image (0: none), and the same at 2, 4, 8 ... pixels a cell, where a cell
// has the value of any painted pixel: thin strokes stay visible when the whole image is shown.
class Painted {
  constructor(shape) {
    this.levels = []
    for (let [h, w] = shape; ; h = Math.ceil(h / 2), w = Math.ceil(w / 2)) {
      this.levels.push({ h, w, values: new Uint8Array(h * w) })
      if (Math.max(h, w) <= 32) break
    }
  }

  clear() { for (const level of this.levels) level.values.fill(0) }

  // Paint a stroke's pixels with a value and bring the coarser levels up to date.
  paint(stroke, value) {
    const { h, w, values } = this.levels[0]
    let y0 = h, y1 = 0, x0 = w, x1 = 0
    strokeRuns(stroke, [h, w], (row, first, last) => {
      values.fill(value, row * w + first, row * w + last)
      y0 = Math.min(y0, row); y1 = Math.max(y1, row + 1)
      x0 = Math.min(x0, first); x1 = Math.max(x1, last)
    })
    for (let k = 1; k < this.levels.length && y1 > y0; k++) {
      y0 >>= 1; x0 >>= 1; y1 = (y1 + 1) >> 1; x1 = (x1 + 1) >> 1
      this.gather(k, y0, y1, x0, x1)
    }
  }

  gather(k, y0, y1, x0, x1) {
    const fine = this.levels[k - 1], coarse = this.levels[k]
    for (let i = y0; i < y1; i++) {
      for (let j = x0; j < x1; j++) {
        const a = 2 * i * fine.w + 2 * j, right = 2 * j + 1 < fine.w, under = 2 * i + 1 < fine.h
        coarse.values[i * coarse.w + j] = fine.values[a] || (right && fine.values[a + 1]) ||
          (under && fine.values[a + fine.w]) || (right && under && fine.values[a + fine.w + 1]) || 0
      }
    }
  }
}
