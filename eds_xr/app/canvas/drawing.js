// How the surface is drawn: layers, strokes, what is being drawn, outlines, scale bar, cursor.

Object.assign(Surface.prototype, {
  redraw(event) {
    if (event) this.since = Math.min(this.since || Infinity, event.timeStamp)
    if (this.asked) return
    this.asked = requestAnimationFrame(() => { this.asked = 0; this.draw() })
  },

  // Bring the painted pixels up to date, then the picture.
  repaint() {
    const known = new Set(this.strokes.map(s => s.id))
    this.painted.clear()
    for (const s of this.strokes) this.painted.paint(s, this.valueOf(s))
    for (const s of this.pending.values()) if (!known.has(s.id)) this.painted.paint(s, this.valueOf(s))
    this.redraw()
  },

  draw() {
    if (!this.size || !this.view) return
    const c = this.context, { scale, y0, x0 } = this.view, r = this.ratio
    c.setTransform(1, 0, 0, 1, 0, 0)
    c.globalAlpha = 1
    c.globalCompositeOperation = "source-over"
    c.fillStyle = "#1b1d20"
    c.fillRect(0, 0, this.canvas.width, this.canvas.height)
    c.setTransform(r * scale, 0, 0, r * scale, -x0 * scale * r, -y0 * scale * r)
    for (const name of this.order) this.drawLayer(this.layers.get(name))
    c.globalAlpha = 1
    c.globalCompositeOperation = "source-over"
    if (this.strokeStyle.visible) this.drawPainted()
    this.drawLive()
    c.setTransform(r, 0, 0, r, 0, 0)
    this.drawOutlines()
    this.drawScale()
    this.drawCursor()
    if (this.since) { this.timings.push(performance.now() - this.since); this.since = 0 }
  },

  drawLayer(layer) {
    if (!layer || layer.visible === false || !layer.opacity) return
    const c = this.context, size = layer.rows / layer.height_px
    c.globalAlpha = layer.opacity
    c.globalCompositeOperation = layer.blend || "source-over"
    // whole pixels where they are seen, means where they are too small
    c.imageSmoothingEnabled = layer.kind !== "labels" && this.view.scale * this.ratio < size
    c.drawImage(layer.image, layer.x0, layer.y0, layer.width_px, layer.height_px)
  },

  drawPainted() {
    const { scale, y0, x0 } = this.view, [h, w] = this.size
    let k = 0
    while (k + 1 < this.painted.levels.length && 2 ** (k + 1) * scale * this.ratio <= 1) k++
    const level = this.painted.levels[k], step = 2 ** k
    const top = clip(Math.floor(y0 / step), level.h), left = clip(Math.floor(x0 / step), level.w)
    const bottom = clip(Math.ceil((y0 + h / scale) / step), level.h)
    const right = clip(Math.ceil((x0 + w / scale) / step), level.w)
    if (bottom <= top || right <= left) return
    const image = new ImageData(right - left, bottom - top), to = new Uint32Array(image.data.buffer)
    const table = this.colorTable()
    for (let i = top, n = 0; i < bottom; i++) {
      for (let j = i * level.w + left; j < i * level.w + right; j++, n++) {
        const value = level.values[j]
        if (value) to[n] = table[value]
      }
    }
    this.crop.width = right - left
    this.crop.height = bottom - top
    this.crop.getContext("2d").putImageData(image, 0, 0)
    this.context.globalAlpha = this.strokeStyle.opacity
    this.context.imageSmoothingEnabled = false
    this.context.drawImage(this.crop, left * step, top * step, (right - left) * step, (bottom - top) * step)
    this.context.globalAlpha = 1
  },

  colorTable() {
    const table = new Uint32Array(256).fill(packed(this.color))
    for (const one of this.classes) table[one.value] = packed(one.color)
    return table
  },

  // What the hand draws now: a brush in its pixels, other tools by their outline.
  drawLive() {
    const live = this.corners || this.live
    if (!live || !live.points) return
    if (!live.freehand && live.kind !== "line") return this.drawShape(live)
    const s = this.scratch.getContext("2d")
    s.setTransform(1, 0, 0, 1, 0, 0)
    s.clearRect(0, 0, this.scratch.width, this.scratch.height)
    s.setTransform(this.context.getTransform())
    s.fillStyle = live.erase ? "#ffffff" : this.colorOf(this.valueOf(live))
    strokeRuns(live, this.shape, (row, first, last) => {
      s.fillRect(first, row, last - first, 1)
    })
    const c = this.context
    c.save()
    c.setTransform(1, 0, 0, 1, 0, 0)
    c.globalAlpha = live.erase ? 0.6 : this.strokeStyle.opacity
    c.drawImage(this.scratch, 0, 0)
    c.restore()
  },

  drawShape(live) {
    const points = [...pathOf(live)]
    if (this.corners && this.at) points.push(this.at)
    this.inScreen(points, live.kind !== "line", live.erase ? "#ffffff" : this.colorOf(this.valueOf(live)), 1.5, [], true)
  },

  // A path in pixels of the screen, dark beneath so that it is seen on any image.
  inScreen(points, closed, color, width, dash, fill) {
    const c = this.context, { scale, y0, x0 } = this.view
    c.save()
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0)
    c.beginPath()
    points.forEach(([y, x], i) => c[i ? "lineTo" : "moveTo"]((x - x0) * scale, (y - y0) * scale))
    if (closed) c.closePath()
    if (fill) { c.globalAlpha = 0.2; c.fillStyle = color; c.fill(); c.globalAlpha = 1 }
    c.lineJoin = c.lineCap = "round"
    c.strokeStyle = "rgba(0, 0, 0, 0.6)"
    c.lineWidth = width + 2
    c.stroke()
    c.strokeStyle = color
    c.lineWidth = width
    c.setLineDash(dash)
    c.stroke()
    c.restore()
  },

  drawOutlines() {
    for (const o of this.outlines) {
      const points = pathOf(o)
      const bold = this.selected.has(o.id)
      if (o.kind === "point") { this.drawMark(points[0], o.color); continue }
      this.inScreen(points, o.kind !== "line", o.color, bold ? 3 : 1.5, o.dash || [], false)
      if (o.text) this.write(points[0], o.text, o.color)
    }
    for (const s of this.strokes) {
      if (!this.selected.has(s.id)) continue
      for (const path of [pathOf(s), ...(s.more || [])]) {
        this.inScreen(path, s.kind !== "line", "#ffffff", 2, [5, 4], false)
      }
    }
  },

  drawMark([y, x], color) {
    const c = this.context, { scale, y0, x0 } = this.view, sx = (x - x0) * scale, sy = (y - y0) * scale
    c.lineWidth = 1.5
    for (const [style, grow] of [["rgba(0, 0, 0, 0.6)", 2], [color, 0]]) {
      c.strokeStyle = style
      c.lineWidth = 1.5 + grow
      c.beginPath()
      c.moveTo(sx - 7, sy); c.lineTo(sx + 7, sy); c.moveTo(sx, sy - 7); c.lineTo(sx, sy + 7)
      c.stroke()
    }
  },

  write([y, x], text, color) {
    const c = this.context, { scale, y0, x0 } = this.view
    c.font = "600 12px system-ui, sans-serif"
    c.textBaseline = "bottom"
    c.lineWidth = 3
    c.strokeStyle = "rgba(0, 0, 0, 0.7)"
    c.strokeText(text, (x - x0) * scale + 3, (y - y0) * scale - 3)
    c.fillStyle = color
    c.fillText(text, (x - x0) * scale + 3, (y - y0) * scale - 3)
  },

  drawScale() {
    const c = this.context, [h, w] = this.size, { scale } = this.view
    const { size, unit } = this.pixelSize || { size: 1, unit: "px" }
    const goal = w / 5 / scale * size, decade = 10 ** Math.floor(Math.log10(goal))
    const length = [5, 2, 1].map(f => f * decade).find(v => v <= goal) || decade
    const wide = length / size * scale, text = lengthText(length, unit)
    c.font = "600 12px system-ui, sans-serif"
    const box = Math.max(wide, c.measureText(text).width) + 16
    c.fillStyle = "rgba(0, 0, 0, 0.5)"
    c.fillRect(w - box - 10, h - 40, box, 30)
    c.fillStyle = "#ffffff"
    c.textAlign = "center"
    c.textBaseline = "alphabetic"
    c.fillText(text, w - 10 - box / 2, h - 24)
    c.fillRect(w - 10 - box / 2 - wide / 2, h - 18, wide, 3)
    c.textAlign = "start"
  },

  drawCursor() {
    const free = DRAWN_AT_ONCE.includes(this.tool) && this.editable
    const shown = this.space || this.tool === "pan" ? "grab" : this.tool === "pick" ? "default" : free ? "none" : "crosshair"
    if (shown !== this.cursor) { this.cursor = shown; this.canvas.style.cursor = shown }
    if (!free || !this.at || this.space) return
    const c = this.context, { scale, y0, x0 } = this.view
    const radius = Math.max(this.width * scale / 2, 3)
    for (const [style, width] of [["rgba(0, 0, 0, 0.7)", 3], ["#ffffff", 1.2]]) {
      c.strokeStyle = style
      c.lineWidth = width
      c.beginPath()
      c.arc((this.at[1] - x0) * scale, (this.at[0] - y0) * scale, radius, 0, 2 * Math.PI)
      c.stroke()
    }
  },
})

function clip(value, size) { return Math.min(Math.max(value, 0), size) }

// "#rrggbb" or "#rrggbbaa" as a pixel of ImageData on a little-endian machine, as all browsers' are.
function packed(color) {
  const n = parseInt(color.slice(1), 16), long = color.length > 7
  const [r, g, b, a] = long ? [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]
    : [n >>> 16, (n >>> 8) & 255, n & 255, 255]
  return ((a << 24) | (b << 16) | (g << 8) | r) >>> 0
}

// The picture of a layer from its bytes: grey, labels (0 is clear) or rgba.
function pictureOf(layer) {
  const bytes = new Uint8Array(layer.bytes instanceof ArrayBuffer ? layer.bytes : layer.bytes.buffer || layer.bytes)
  const image = new ImageData(layer.columns, layer.rows)
  if (layer.kind === "rgba") image.data.set(bytes)
  else {
    const to = new Uint32Array(image.data.buffer), table = new Uint32Array(256)
    const named = layer.palette && layer.palette.length
    for (let i = 0; i < 256; i++) {
      const grey = ((255 << 24) | (i << 16) | (i << 8) | i) >>> 0
      table[i] = named ? (i < layer.palette.length ? packed(layer.palette[i]) : 0) : grey
    }
    if (layer.kind === "labels") table[0] = 0
    for (let i = 0; i < bytes.length; i++) to[i] = table[bytes[i]]
  }
  layer.image.width = layer.columns
  layer.image.height = layer.rows
  layer.image.getContext("2d").putImageData(image, 0, 0)
}

function lengthText(length, unit) {
  if (unit === "nm" && length >= 1000) return `${length / 1000} µm`
  if (unit === "nm" && length < 1) return `${+(length * 1000).toPrecision(3)} pm`
  return `${+length.toPrecision(3)} ${unit}`
}
