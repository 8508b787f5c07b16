// The drawing surface: layers of an image, painted strokes and outlines on one HTML canvas. What
// the hand does is drawn here at once and told to Python, which keeps the strokes.

const PAN_KEY = " "
const SETTLED_MS = 150, POINTER_MS = 60, PING_MS = 2000, LOST_MS = 8000, RENEW_MS = 16000
const TOOLS = ["pan", "pick", "brush", "eraser", "polygon", "rectangle", "line"]
const TOOL_KEYS = { v: "pick", h: "pan", b: "brush", e: "eraser", p: "polygon", r: "rectangle", l: "line" }
const DRAWN_AT_ONCE = ["brush", "eraser"]
const MOST_WIDTH = 200

class Surface {
  constructor(model) {
    this.model = model
    this.shape = [1, 1]
    this.pixelSize = null
    this.layers = new Map()
    this.order = []
    this.classes = []
    this.active = null
    this.tool = "pan"
    this.width = 3
    this.color = "#4477aa"
    this.strokes = []
    this.strokeStyle = { opacity: 0.8, visible: true }
    this.pending = new Map()
    this.outlines = []
    this.selected = new Set()
    this.keys = []
    this.key = ""
    this.served = false
    this.editable = true
    this.view = null
    this.live = null
    this.listeners = []
    this.timings = []
    this.build()
    this.connect()
  }

  build() {
    this.root = document.createElement("div")
    this.root.className = "eds-surface"
    this.root.tabIndex = 0
    this.root.surface = this
    this.canvas = document.createElement("canvas")
    this.canvas.setAttribute("role", "img")
    this.canvas.setAttribute("aria-label", "image")
    this.note = document.createElement("div")
    this.note.className = "eds-note"
    this.note.hidden = true
    this.root.append(this.canvas, this.note)
    this.context = this.canvas.getContext("2d")
    this.scratch = document.createElement("canvas")
    this.crop = document.createElement("canvas")
    this.painted = new Painted(this.shape)
    this.watchSize = new ResizeObserver(() => this.resize())
    this.watchSize.observe(this.root)
    this.cursor = "crosshair"
  }

  // -- events -----------------------------------------------------------------------------------

  connect() {
    const on = (target, name, f, options) => {
      target.addEventListener(name, f, options)
      this.listeners.push(() => target.removeEventListener(name, f, options))
    }
    on(this.canvas, "pointerdown", e => this.down(e))
    on(this.canvas, "pointermove", e => this.move(e))
    on(this.canvas, "pointerup", e => this.up(e))
    on(this.canvas, "pointercancel", e => this.up(e))
    on(this.canvas, "lostpointercapture", e => this.up(e))
    on(this.canvas, "pointerleave", () => { this.at = null; this.redraw() })
    on(this.canvas, "dblclick", () => this.doubled())
    on(this.canvas, "contextmenu", e => e.preventDefault())
    on(this.canvas, "wheel", e => this.wheel(e), { passive: false })
    on(window, "keydown", e => this.pressed(e), true)
    on(window, "keyup", e => { if (e.key === PAN_KEY) this.space = false }, true)
    on(window, "blur", () => { this.space = false })
    this.model.on("msg:custom", message => this.receive(message))
    this.model.on("remove", () => this.remove())
    this.waiting = 0
    this.beat = setInterval(() => this.ping(), PING_MS)
    this.send({ type: "ready" })
  }

  remove() {
    for (const off of this.listeners) off()
    clearInterval(this.beat)
    this.watchSize.disconnect()
  }

  send(message) {
    try { this.model.send_msg(message) } catch (error) { /* no connection: strokes are kept, see ping */ }
  }

  // The element over which keys are heard; an app around the surface sets its own.
  get keyArea() { return this.area || this.root }

  receive(message) {
    if (message instanceof Map) message = plain(message)
    const f = this["on_" + message.type]
    if (f) f.call(this, message)
    if (this.onmessage) this.onmessage(message)
  }

  // -- messages from Python ---------------------------------------------------------------------

  on_begin(m) {
    this.layers.clear()
    this.order = []
    this.strokes = []
    this.outlines = []
    if (m.key !== this.key) this.restore(m.key)
  }

  on_setup(m) {
    const kept = m.complete && m.served ? this.remembered(m) : null
    const fit = !this.view || m.shape[0] !== this.shape[0] || m.shape[1] !== this.shape[1]
    for (const name of ["pixelSize", "tool", "width", "color", "classes", "active", "keys", "key",
      "served", "editable", "launch"]) {
      if (name in m) this[name] = m[name]
    }
    if (fit) {
      this.shape = m.shape
      this.painted = new Painted(this.shape)
      this.fit()
    }
    this.repaint()
    if (kept) this.takeUp(kept, m.launch)
    if (!m.complete) return
    for (const stroke of this.pending.values()) this.tell(stroke, true)
    this.complete = true
    this.takeEarly()
  }

  on_set(m) {
    for (const name of ["tool", "width", "color", "classes", "active", "keys", "pixelSize", "editable"]) {
      if (name in m) this[name] = m[name]
    }
    if ("tool" in m) this.cancel()
    this.remember()
    this.changed()
    if ("classes" in m) this.repaint()
    else this.redraw()
  }

  on_layer(m) {
    const known = this.layers.get(m.name) || { image: document.createElement("canvas") }
    const layer = Object.assign(known, m)
    if (m.bytes !== undefined) pictureOf(layer)
    delete layer.bytes
    this.layers.set(m.name, layer)
    if (!this.order.includes(m.name)) this.order.push(m.name)
    this.redraw()
  }

  on_remove_layer(m) {
    this.layers.delete(m.name)
    this.order = this.order.filter(name => name !== m.name)
    this.redraw()
  }

  on_order(m) { this.order = m.names; this.redraw() }

  // All strokes by id in their order, of which only new or changed ones come with their points.
  on_strokes(m) {
    const known = new Map(this.strokes.map(s => [s.id, s]))
    for (const s of m.changed) known.set(s.id, s)
    const before = this.strokes, now = m.order.map(id => known.get(id)).filter(Boolean)
    const grown = now.length >= before.length && before.every((s, i) => s === now[i])
    // strokes of this view are painted already, and in this order
    const waiting = [...this.pending.keys()], more = now.slice(before.length)
    const mine = grown && more.every((s, i) => s.id === waiting[i])
    for (const id of m.order) this.acknowledge(id)
    this.strokes = now
    this.selected = new Set([...this.selected].filter(id => known.has(id) && m.order.includes(id)))
    if (mine) this.redraw()
    else if (grown && waiting.length === 0) {
      for (const s of more) this.painted.paint(s, this.valueOf(s))
      this.redraw()
    } else this.repaint()
  }

  on_stroke_style(m) { Object.assign(this.strokeStyle, m); this.redraw() }
  on_outlines(m) { this.outlines = m.outlines; this.remember(); this.redraw() }
  on_selected(m) { this.selected = new Set(m.ids); this.redraw() }
  // A stroke that Python does not want is taken away.
  on_acknowledge(m) {
    this.acknowledge(m.id)
    if (!this.strokes.some(s => s.id === m.id)) this.repaint()
  }
  on_pong() { this.waiting = 0; this.say("") }
  on_fit() { this.fit() }
  on_show(m) { this.show(m.y0, m.x0, m.y1, m.x1) }

  acknowledge(id) {
    if (this.pending.delete(id)) this.keep()
  }

  // -- strokes that Python has not acknowledged outlive a lost connection and a reload ----------

  keep() {
    try {
      if (this.pending.size) localStorage.setItem("eds-xr " + this.key, JSON.stringify([...this.pending.values()]))
      else localStorage.removeItem("eds-xr " + this.key)
    } catch (error) { /* storage is full or forbidden: the strokes stay in this page */ }
  }

  restore(key) {
    this.key = key
    try {
      for (const s of JSON.parse(localStorage.getItem("eds-xr " + key) || "[]")) this.pending.set(s.id, s)
    } catch (error) { /* as above */ }
  }

  // A kernel is asked only while strokes wait: it may be busy with a cell for long.
  ping() {
    if (!this.served && !this.pending.size) { this.waiting = 0; return }
    this.waiting = this.waiting || performance.now()
    this.send({ type: "ping" })
    if (performance.now() - this.waiting < LOST_MS) return
    const n = this.pending.size
    this.say((this.served ? "no connection to the server" : "the kernel does not answer") +
      (n ? `: ${n} stroke${n > 1 ? "s" : ""} kept in this browser` : ""))
    if (this.served && performance.now() - this.waiting > RENEW_MS && window.edsConnection) {
      this.waiting = 0
      window.edsConnection.renew()
    }
  }

  // -- what a page shows outlives a lost connection and a reload, in its tab ---------------------

  remember() {
    if (!this.served || !this.view || !this.size) return
    const { shape, view, fitted, tool, width, active, outlines, launch } = this
    try {
      sessionStorage.setItem("eds-xr view " + this.key, JSON.stringify({ shape, view, fitted, tool, width, active, outlines, launch }))
    } catch (error) { /* storage is full or forbidden: a new page begins with the whole image */ }
  }

  remembered(m) {
    try {
      const kept = JSON.parse(sessionStorage.getItem("eds-xr view " + m.key) || "null")
      return kept && kept.shape[0] === m.shape[0] && kept.shape[1] === m.shape[1] ? kept : null
    } catch (error) { return null }
  }

  // Another launch of the server knows nothing of the outlines that the last one has shown.
  takeUp({ view, fitted, tool, width, active, outlines, launch }, now) {
    if (!fitted) { this.view = view; this.fitted = false; this.moved() }
    if (active !== this.active && this.classes.some(c => c.id === active)) this.choose({ active })
    this.choose({ tool, width })
    if (launch !== now) this.send({ type: "remembered", outlines })
  }

  // What the hand did since the page was built anew, before this surface knew its image.
  takeEarly() {
    const early = window.edsConnection && window.edsConnection.early
    if (!early || !this.complete || !this.size) return
    window.edsConnection.early = null
    const box = this.canvas.getBoundingClientRect()
    for (const e of early) {
      if (e.type === "pointermove") this.move(e)
      else if (e.type !== "pointerdown") this.up(e)
      else if (e.clientX >= box.left && e.clientX < box.right && e.clientY >= box.top && e.clientY < box.bottom) this.down(e)
    }
  }

  say(text) { this.note.textContent = text; this.note.hidden = !text }

  // -- view -------------------------------------------------------------------------------------

  resize() {
    const { clientWidth: w, clientHeight: h } = this.root, ratio = window.devicePixelRatio || 1
    if (!w || !h) return
    this.ratio = ratio
    this.size = [h, w]
    this.canvas.width = this.scratch.width = Math.round(w * ratio)
    this.canvas.height = this.scratch.height = Math.round(h * ratio)
    if (!this.view || this.fitted) this.fit()
    else { this.tellView(); this.draw() }
    this.takeEarly()
  }

  fit() {
    this.fitted = true
    this.show(0, 0, this.shape[0], this.shape[1])
    this.fitted = true
  }

  show(y0, x0, y1, x1) {
    if (!this.size) return
    const [h, w] = this.size
    const scale = Math.min(h / Math.max(y1 - y0, 1e-9), w / Math.max(x1 - x0, 1e-9))
    this.view = { scale, y0: (y0 + y1) / 2 - h / scale / 2, x0: (x0 + x1) / 2 - w / scale / 2 }
    this.fitted = false
    this.moved()
  }

  moved() {
    this.redraw()
    clearTimeout(this.settling)
    this.settling = setTimeout(() => this.tellView(), SETTLED_MS)
  }

  tellView() {
    if (!this.view || !this.size) return
    this.remember()
    const { scale, y0, x0 } = this.view, [h, w] = this.size
    this.send({ type: "viewport", y0, x0, y1: y0 + h / scale, x1: x0 + w / scale, rows: h, columns: w })
  }

  // Image coordinates of an event: multiples of 1/64 pixel, which text and binary hold exactly.
  place(e) {
    const box = this.canvas.getBoundingClientRect(), { scale, y0, x0 } = this.view
    return [(e.clientY - box.top) / scale + y0, (e.clientX - box.left) / scale + x0]
      .map(v => Math.round(v * 64) / 64)
  }

  wheel(e) {
    if (!this.view) return
    e.preventDefault()
    const [y, x] = this.place(e), pixels = e.deltaMode === 1 ? e.deltaY * 30 : e.deltaY
    const most = 64, least = 0.2 * Math.min(this.size[0] / this.shape[0], this.size[1] / this.shape[1])
    const scale = Math.min(Math.max(this.view.scale * Math.exp(-pixels / 400), Math.min(least, 1)), most)
    const part = this.view.scale / scale
    this.view = { scale, y0: y - (y - this.view.y0) * part, x0: x - (x - this.view.x0) * part }
    this.fitted = false
    this.moved()
  }

  // -- pointer ----------------------------------------------------------------------------------

  // A pen draws, its other end erases; once there is a pen, fingers move the image. The palm, down
  // before the pen or after, does nothing.
  down(e) {
    if (!this.complete || !this.view) return
    const pen = e.pointerType === "pen", erase = pen && e.button === 5
    if (pen) {
      this.penSeen = true
      if (this.live && this.live.touch) this.leavePalm()
    }
    if (this.live) return
    this.root.focus({ preventScroll: true })
    e.preventDefault()
    try { this.canvas.setPointerCapture(e.pointerId) } catch (error) { /* it is up again */ }
    const at = this.place(e)
    const touch = e.pointerType === "touch", finger = touch && this.penSeen
    if (e.button === 1 || this.space || finger || (e.button === 0 && this.tool === "pan")) {
      this.live = { kind: "pan", from: [e.clientY, e.clientX], view: { ...this.view }, pointer: e.pointerId, touch }
    } else if (e.button !== 0 && !erase) {
      return
    } else if (this.tool === "pick" && !erase) {
      this.live = { kind: "pick", at, shift: e.shiftKey, pointer: e.pointerId }
    } else if (!this.editable) {
      return
    } else if (this.tool === "polygon" && !erase) {
      this.corner(at, e)
    } else {
      const tool = erase ? "eraser" : this.tool
      this.live = { ...this.newStroke(tool), points: [at], pointer: e.pointerId, touch }
      if (tool === "rectangle") this.live.points.push(at)
    }
    this.redraw(e)
  }

  leavePalm() {
    if (this.live.kind === "pan") { this.view = this.live.view; this.moved() }
    if (this.live.kind === "corner") this.corners.points.pop()
    this.live = null
  }

  newStroke(tool) {
    const erase = tool === "eraser"
    return {
      id: newId(), kind: tool === "polygon" || tool === "rectangle" ? tool : "line", tool,
      width: this.width, class: erase ? null : this.active, erase, freehand: DRAWN_AT_ONCE.includes(tool),
    }
  }

  corner(at, e) {
    if (!this.corners) this.corners = { ...this.newStroke("polygon"), points: [], width: 1 }
    this.corners.points.push(at)
    this.live = { kind: "corner", pointer: e.pointerId, touch: e.pointerType === "touch" }
  }

  move(e) {
    if (!this.view) return
    const at = this.place(e), live = this.live
    if (live && live.pointer !== e.pointerId && e.pointerType === "touch") return
    this.at = at
    this.tellPointer(at)
    if (!live || live.pointer !== e.pointerId) { this.redraw(e); return }
    if (live.kind === "pan") {
      const { scale } = live.view
      this.view = {
        scale, y0: live.view.y0 - (e.clientY - live.from[0]) / scale,
        x0: live.view.x0 - (e.clientX - live.from[1]) / scale,
      }
      this.fitted = false
      this.moved()
      return
    }
    const events = e.getCoalescedEvents ? e.getCoalescedEvents() : []
    const path = (events.length ? events : [e]).map(one => this.place(one))
    if (live.kind === "corner") {
      const moved = Math.hypot(...[0, 1].map(k => at[k] - this.corners.points.at(-1)[k])) * this.view.scale
      if (live.lasso || moved > 6) { live.lasso = true; extend(this.corners.points, path) }
    } else if (live.freehand) extend(live.points, path)
    else if (live.kind !== "pick") live.points = [live.points[0], at]
    this.redraw(e)
  }

  up(e) {
    const live = this.live
    if (!live || live.pointer !== e.pointerId) return
    this.live = null
    if (live.kind === "pan") { this.moved(); return }
    if (live.kind === "pick") this.pick(live)
    else if (live.kind === "corner") { if (live.lasso) this.close() }
    else this.commit(live)
    this.redraw()
  }

  commit(live) {
    const { pointer, freehand, touch, ...stroke } = live
    const flat = stroke.kind === "rectangle" && [0, 1].some(k => stroke.points[0][k] === stroke.points[1][k])
    if (flat || (!stroke.erase && stroke.class === null && this.classes.length)) return
    this.pending.set(stroke.id, stroke)
    this.keep()
    this.painted.paint(stroke, this.valueOf(stroke))
    this.tell(stroke)
  }

  tell(s, again = false) {
    this.send({
      type: "drawn", again, id: s.id, kind: s.kind, tool: s.tool, points: s.points, width_pixels: s.width,
      class: s.class, erase: s.erase,
    })
  }

  close() {
    const corners = this.corners
    this.corners = null
    if (corners && corners.points.length > 2) this.commit(corners)
    this.redraw()
  }

  cancel() { this.corners = null; if (this.live && this.live.kind !== "pan") this.live = null; this.redraw() }

  doubled() {
    if (this.corners) {
      const p = this.corners.points
      if (p.length > 3) p.pop() // the second click of the two put a corner on the first one's
      this.close()
    } else if (!DRAWN_AT_ONCE.includes(this.tool)) this.fit()
  }

  tellPointer(at) {
    const now = performance.now()
    if (now - (this.toldAt || 0) < POINTER_MS) {
      clearTimeout(this.telling)
      this.telling = setTimeout(() => this.tellPointer(at), POINTER_MS)
      return
    }
    this.toldAt = now
    this.send({ type: "pointer", y: at[0], x: at[1] })
  }

  pick({ at, shift }) {
    const near = 5 / this.view.scale
    const all = [...this.strokes.filter(s => !s.erase && s.selectable !== false), ...this.outlines]
    const hit = all.reverse().find(s => distanceTo(s, at) <= near)
    const ids = new Set(shift ? this.selected : [])
    if (hit) { if (shift && ids.has(hit.id)) ids.delete(hit.id); else ids.add(hit.id) }
    const changed = ids.size !== this.selected.size || [...ids].some(id => !this.selected.has(id))
    this.selected = ids
    if (changed) this.send({ type: "selected", ids: [...ids] })
    this.send({ type: "picked", y: at[0], x: at[1] })
    this.changed()
  }

  // -- keys, only while the pointer is over the app ---------------------------------------------

  pressed(e) {
    const target = e.composedPath()[0]
    const typing = target.isContentEditable || target.tagName === "TEXTAREA" || target.tagName === "SELECT" ||
      (target.tagName === "INPUT" && !["range", "checkbox", "radio", "color"].includes(target.type))
    if (typing || e.altKey || !this.keyArea.matches(":hover")) return
    const ctrl = e.ctrlKey || e.metaKey
    const key = ctrl ? "Ctrl+" + (e.shiftKey ? e.key.toUpperCase() : e.key) : e.key
    if (!this.act(key)) return
    e.preventDefault()
    e.stopPropagation()
  }

  // What the browser does by itself takes effect before the next pointer event.
  act(key) {
    const number = /^[1-9]$/.test(key) ? this.classes[+key - 1] : undefined
    if (key === PAN_KEY) this.space = true
    else if (number) this.choose({ active: number.id })
    else if (this.editable && key in TOOL_KEYS && this.tools.includes(TOOL_KEYS[key])) this.choose({ tool: TOOL_KEYS[key] })
    else if (this.editable && "<>,.".includes(key)) this.choose({ width: nextWidth(this.width, ">.".includes(key)) })
    else if (key === "f") this.fit()
    else if (key === "Escape" && (this.corners || this.live)) this.cancel()
    else if (key === "Enter" && this.corners) this.close()
    else if (key === "Backspace" && this.corners) { this.corners.points.pop(); this.redraw() }
    else if (this.keys.includes(key)) this.send({ type: "key", key })
    else return false
    return true
  }

  get tools() { return this.offered || TOOLS }

  // Choose a tool, class or width here and tell Python, which does not answer.
  choose(choice) {
    Object.assign(this, choice)
    if ("tool" in choice) this.cancel()
    if ("active" in choice && this.tool === "eraser") { this.tool = "brush"; choice.tool = "brush" }
    this.send({ type: "chosen", ...choice })
    this.remember()
    this.changed()
    this.redraw()
  }

  changed() { if (this.onchange) this.onchange() }

  valueOf(stroke) {
    if (stroke.erase) return 0
    if (stroke.value !== undefined && stroke.value !== null) return stroke.value
    const found = this.classes.find(c => c.id === stroke.class)
    return found ? found.value : 255
  }

  colorOf(value) {
    const found = this.classes.find(c => c.value === value)
    return found ? found.color : this.color
  }
}

function plain(message) {
  const value = v => v instanceof Map ? plain(v) : Array.isArray(v) ? v.map(value) : v
  return Object.fromEntries([...message].map(([k, v]) => [k, value(v)]))
}

function extend(points, path) {
  for (const p of path) {
    const last = points.at(-1)
    if (p[0] !== last[0] || p[1] !== last[1]) points.push(p)
  }
}

function nextWidth(width, more) {
  const steps = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 150, MOST_WIDTH]
  return more ? steps.find(s => s > width) || MOST_WIDTH : steps.filter(s => s < width).at(-1) || 1
}

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map(b => b.toString(16).padStart(2, "0")).join("")
}

// Distance of a place to what a stroke or outline covers [pixels].
function distanceTo(s, [y, x]) {
  const half = (s.kind === "line" ? (s.width || 1) / 2 : 0)
  const points = pathOf(s), closed = ["polygon", "rectangle", "oval"].includes(s.kind)
  if (closed && inPolygon(points.map(p => p[1]), points.map(p => p[0]), x, y)) return 0
  let least = Infinity
  const n = points.length
  for (let i = 0; i < Math.max(closed ? n : n - 1, 1); i++) {
    const [ay, ax] = points[i], [by, bx] = points[(i + 1) % n] || points[i]
    const dy = by - ay, dx = bx - ax, length2 = dy * dy + dx * dx || 1e-12
    const along = Math.min(Math.max(((y - ay) * dy + (x - ax) * dx) / length2, 0), 1)
    least = Math.min(least, Math.hypot(y - ay - along * dy, x - ax - along * dx))
  }
  return Math.max(least - half, 0)
}

// The path of a stroke, closed for areas; of an oval its frame.
function pathOf(s) {
  if (s.kind !== "rectangle" && s.kind !== "oval") return s.points
  const [low, high] = extent(s.points)
  return [[low[0], low[1]], [low[0], high[1]], [high[0], high[1]], [high[0], low[1]]]
}
