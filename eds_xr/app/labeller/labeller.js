// The labeller around the surface: tools, classes, strokes, training, what is shown. Python sends its
// whole state whenever it changes; what the user does goes back as actions.

const ICONS = {
  pan: "M8 1v14M1 8h14M8 1l-2 2M8 1l2 2M8 15l-2-2M8 15l2-2M1 8l2-2M1 8l2 2M15 8l-2-2M15 8l-2 2",
  pick: "M3 2l9 6-4 1 2 4-2 1-2-4-3 3z",
  brush: "M14 2L7 9M7 9c-2 0-3 1-3 3 0 1-1 2-2 2 3 1 7 0 7-3 0-1-1-2-2-2z",
  eraser: "M6 13l-4-4 7-7 5 5-6 6zM5 6l5 5M6 13h8",
  polygon: "M8 2l6 4-2 8H4L2 6z",
  rectangle: "M2 4h12v8H2z",
  line: "M3 13L13 3",
  undo: "M4 7h6a3 3 0 0 1 0 6H7M4 7l3-3M4 7l3 3",
  redo: "M12 7H6a3 3 0 0 0 0 6h3M12 7L9 4M12 7L9 10",
  bin: "M3 4h10M6 4V2h4v2M5 4l1 10h4l1-10",
}
const TOOL_NAMES = {
  pick: "Select strokes (V)", pan: "Move the image (H, or Space)", brush: "Brush (B)", eraser: "Eraser (E)",
  polygon: "Polygon (P): click corners or draw, Enter closes", rectangle: "Rectangle (R)", line: "Line (L)",
}
const HELP = [
  ["1 to 9", "paint this class"], ["B E P R L", "brush, eraser, polygon, rectangle, line"],
  ["V H", "select strokes, move the image"], ["< >", "narrower, wider brush"],
  ["T", "train; while it trains, stop"], ["O", "overlay on, off"], ["I", "image alone"], ["U", "uncertainty: paint where it is bright"],
  ["Ctrl+Z  Ctrl+Y", "undo, redo"], ["Delete", "delete selected strokes"],
  ["F, double-click", "show the whole image"], ["wheel", "zoom"], ["middle, Space", "move the image"],
  ["Enter  Esc", "close a polygon, give it up"], ["?", "this help"],
]
const KINDS = ["intensity", "gaussian", "sobel", "hessian", "difference_of_gaussians", "membrane"]

function h(tag, given = {}, ...children) {
  const e = document.createElement(tag)
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value)
    else if (name === "style") Object.assign(e.style, value)
    else if (name in e && name !== "list") e[name] = value
    else e.setAttribute(name, value)
  }
  e.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false))
  return e
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg")
  svg.setAttribute("viewBox", "0 0 16 16")
  svg.setAttribute("aria-hidden", "true")
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path")
  path.setAttribute("d", ICONS[name])
  svg.append(path)
  return svg
}

class App {
  constructor(model) {
    this.model = model
    this.state = null
    this.surface = new Surface(model)
    this.surface.onmessage = m => this.receive(m)
    this.surface.onchange = () => this.refreshTools()
    this.root = h("div", { className: "eds-app" })
    this.surface.area = this.root
    this.root.app = this
    this.build()
    window.addEventListener("keydown", this.helpKey = e => this.maybeHelp(e), true)
    model.on("remove", () => window.removeEventListener("keydown", this.helpKey, true))
  }

  act(name, more = {}) { this.model.send_msg({ type: "action", name, ...more }) }

  receive(m) {
    if (m.type === "state") { this.state = m; this.refresh() }
    else if (m.type === "pointed") this.where.textContent = m.text
    else if (m.type === "script") this.showScript(m.text)
  }

  maybeHelp(e) {
    if (!this.root.matches(":hover") || e.ctrlKey || e.metaKey) return
    const t = e.composedPath()[0]
    if (["INPUT", "TEXTAREA", "SELECT"].includes(t.tagName)) return
    if (e.key === "?") { e.preventDefault(); e.stopPropagation(); this.toggleHelp() }
    else if (e.key === "Escape" && !this.sheet.hidden) { this.sheet.hidden = true; e.stopPropagation() }
  }

  // -- the frame --------------------------------------------------------------------------------

  build() {
    this.bar = h("div", { className: "bar", role: "toolbar" }, this.buildTools(), this.buildShown())
    this.side = h("div", { className: "side" }, this.buildClasses(), this.buildStrokes(), this.buildTraining(),
      this.buildQuality(), this.buildFiles())
    this.where = h("span", { className: "where" })
    this.said = h("span", { className: "said", role: "status" })
    this.sheet = h("div", { className: "sheet", hidden: true, role: "dialog" })
    const middle = h("div", { className: "middle" }, this.surface.root, this.sheet)
    // a button that was clicked does not take the keys, Space among them, that follow
    this.root.addEventListener("click", e => { const b = e.target.closest("button, summary"); if (b) b.blur() })
    this.root.append(this.bar, this.side, middle, h("div", { className: "foot" }, this.where, this.said))
  }

  buildTools() {
    this.tools = {}
    const tools = Object.keys(TOOL_NAMES).map(name => this.tools[name] = h("button", {
      className: "tool", title: TOOL_NAMES[name], "aria-label": name,
      onclick: () => this.surface.choose({ tool: name }),
    }, icon(name)))
    this.widthText = h("output", { className: "width" })
    const step = more => this.surface.choose({ width: nextWidth(this.surface.width, more) })
    this.undo = h("button", { className: "tool", title: "Undo (Ctrl+Z)", "aria-label": "undo", onclick: () => this.act("undo") }, icon("undo"))
    this.redo = h("button", { className: "tool", title: "Redo (Ctrl+Y)", "aria-label": "redo", onclick: () => this.act("redo") }, icon("redo"))
    return h("div", { className: "group" }, tools, h("span", { className: "gap" }),
      h("button", { className: "tool", title: "Narrower brush (<)", "aria-label": "narrower", onclick: () => step(false) }, "−"),
      this.widthText,
      h("button", { className: "tool", title: "Wider brush (>)", "aria-label": "wider", onclick: () => step(true) }, "+"),
      h("span", { className: "gap" }), this.undo, this.redo)
  }

  buildShown() {
    this.channel = h("select", { "aria-label": "channel", title: "Map that is shown", onchange: e => this.act("show", { channel: e.target.value }) })
    this.low = h("input", { type: "number", min: 0, max: 99, step: 0.5, "aria-label": "black", title: "Share of black pixels [%]" })
    this.high = h("input", { type: "number", min: 1, max: 100, step: 0.5, "aria-label": "white", title: "White from this share of pixels on [%]" })
    for (const one of [this.low, this.high]) {
      one.addEventListener("change", () => this.act("show", { contrast: [+this.low.value, +this.high.value] }))
    }
    this.overlay = h("select", { "aria-label": "overlay", title: "What lies over the image", onchange: e => this.act("show", { overlay: e.target.value }) },
      ["classes", "probability", "uncertainty", "presence", "none"].map(v => h("option", { value: v }, v)))
    this.opacity = h("input", {
      type: "range", min: 0, max: 1, step: 0.01, "aria-label": "opacity", title: "Opacity of the overlay",
      oninput: e => { this.dragging = true; this.act("show", { opacity: +e.target.value }) },
      onchange: () => { this.dragging = false },
    })
    return h("div", { className: "group" }, h("label", {}, "Map", this.channel), h("label", { title: "Contrast: shares of pixels [%]" }, "%", this.low, this.high),
      h("label", {}, "Overlay", this.overlay), this.opacity,
      this.log = h("label", { title: "Counts of the spectra on a logarithmic scale" }, h("input", { type: "checkbox", "aria-label": "log", onchange: e => this.act("log", { log: e.target.checked }) }), "log"),
      h("button", { className: "tool", title: "Keys (?)", "aria-label": "help", onclick: () => this.toggleHelp() }, "?"))
  }

  section(title, ...children) { return h("section", {}, h("h3", {}, title), ...children) }

  buildClasses() {
    this.classList = h("div", { className: "list classes", role: "listbox", "aria-label": "classes" })
    return this.section("Classes", this.classList, h("div", { className: "row" },
      h("button", { onclick: () => this.act("add_class") }, "+ class"),
      h("button", { title: "A class of pixels that hold two phases", onclick: () => this.askOverlap() }, "+ overlap")))
  }

  buildStrokes() {
    this.strokeList = h("div", { className: "list strokes", role: "listbox", "aria-label": "strokes" })
    this.strokeTitle = h("span")
    this.erase = h("button", { title: "Delete selected strokes (Delete)", "aria-label": "delete strokes", onclick: () => this.deleteSelected() }, icon("bin"))
    return h("section", {}, h("h3", {}, "Strokes ", this.strokeTitle, this.erase), this.strokeList)
  }

  buildTraining() {
    this.train = h("button", { className: "primary", onclick: () => this.act("train") })
    this.live = h("input", { type: "checkbox", onchange: e => this.act("live", { live: e.target.checked }) })
    this.smooth = h("input", {
      type: "range", min: 0, max: 5, step: 0.1, "aria-label": "smoothness",
      oninput: e => { this.smoothing = true; this.smoothText.textContent = (+e.target.value).toFixed(1); this.act("parameter", { parameter: "smoothness", value: +e.target.value }) },
      onchange: () => { this.smoothing = false },
    })
    this.smoothText = h("output")
    this.choices = h("div", { className: "choices" })
    this.phases = h("button", { onclick: () => this.act("phases") })
    return this.section("Training", h("div", { className: "row" }, this.train, h("label", { title: "Train after each stroke" }, this.live, "live"), this.phases),
      h("label", { className: "slide" }, "smoothness", this.smooth, this.smoothText),
      h("details", {}, h("summary", {}, "Features and forest"), this.choices))
  }

  buildQuality() {
    this.quality = h("div", { className: "quality" })
    return this.section("How good", h("div", { className: "row" },
      h("button", { title: "Recognise strokes that were not learnt from", onclick: () => this.act("score") }, "Score by stroke")), this.quality)
  }

  buildFiles() {
    const saves = { session: "Session", labels: "Labels (TIFF)", rois: "Strokes (ImageJ)", masks: "Masks and presence", segmented: "Final phases", classifier: "Classifier" }
    this.save = h("select", { "aria-label": "save", onchange: e => { if (e.target.value) this.act("save", { what: e.target.value }); e.target.value = "" } },
      h("option", { value: "" }, "Save …"), Object.entries(saves).map(([v, t]) => h("option", { value: v }, t)))
    this.file = h("input", { type: "file", hidden: true, accept: ".edsx,.tif,.tiff,.png,.roi,.zip", "aria-label": "file", onchange: e => this.upload(e.target) })
    return this.section("Files", h("div", { className: "row files" }, this.save,
      h("button", { title: "A session, ImageJ regions, a label image, a classifier", onclick: () => this.file.click() }, "Load …"), this.file,
      h("button", { onclick: () => this.act("script") }, "Script")))
  }

  // -- state ------------------------------------------------------------------------------------

  refresh() {
    const s = this.state
    const stamp = JSON.stringify(s.channels)
    if (stamp !== this.channelStamp) {
      this.channelStamp = stamp
      this.channel.replaceChildren(...s.channels.map(name => h("option", { value: name }, name)))
    }
    put(this.channel, s.channel)
    put(this.low, s.contrast[0])
    put(this.high, s.contrast[1])
    put(this.overlay, s.overlay_shown ? s.overlay : "none")
    if (!this.dragging) this.opacity.value = s.opacity
    this.undo.disabled = !s.can_undo
    this.redo.disabled = !s.can_redo
    const training = s.busy.includes("training") || s.busy.includes("labels")
    this.train.textContent = training ? "Stop" : "Train"
    this.train.classList.toggle("stop", training)
    this.train.title = training ? "Stop (T)" : "Train (T)"
    const finding = s.busy.includes("phases")
    this.phases.textContent = finding ? "Stop" : "Phases"
    this.phases.setAttribute("aria-label", finding ? "Stop phases" : "Phases")
    this.phases.classList.toggle("stop", finding)
    this.phases.title = finding ? "Stop finding phases" : "Final phases of the whole image: from its spectra and the strokes"
    this.live.checked = s.live
    this.log.hidden = s.log === null
    this.log.firstChild.checked = Boolean(s.log)
    if (!this.smoothing) { this.smooth.value = s.parameters.smoothness; this.smoothText.textContent = s.parameters.smoothness.toFixed(1) }
    const read = finding && s.times_read ? ` (image read ${s.times_read.toFixed(1)} times)` : ""
    this.said.textContent = s.said || (s.busy.length ? s.busy.join(", ") + read + " …" : "")
    this.said.classList.toggle("error", Boolean(s.error))
    this.refreshClasses()
    this.refreshStrokes()
    this.refreshChoices()
    this.refreshQuality()
    this.refreshTools()
  }

  refreshTools() {
    for (const [name, button] of Object.entries(this.tools)) button.classList.toggle("on", name === this.surface.tool)
    this.widthText.textContent = `${this.surface.width} px`
    for (const row of this.classList.children) row.classList.toggle("on", row.dataset.id === this.surface.active)
    const selected = this.surface.selected
    for (const row of this.strokeList.children) row.classList.toggle("on", selected.has(row.dataset.id))
    this.erase.disabled = !selected.size
    if (this.state && this.shownFor !== this.surface.active) this.refreshStrokes()
  }

  refreshClasses() {
    const s = this.state, stamp = JSON.stringify(s.classes)
    if (stamp === this.classStamp || this.classList.querySelector("input.name")) return
    this.classStamp = stamp
    this.classList.replaceChildren(...s.classes.map((c, i) => this.classRow(c, i)))
  }

  classRow(c, i) {
    const color = h("input", { type: "color", value: c.color, title: "Colour", "aria-label": `colour of ${c.name}`, onchange: e => this.act("recolour_class", { class: c.name, color: e.target.value }) })
    const name = h("span", { className: "name", title: "Double-click renames", ondblclick: () => this.rename(name, c.name) }, c.name)
    const others = this.state.classes.filter(o => o.name !== c.name)
    const more = h("select", { className: "more", title: "More", "aria-label": `more of ${c.name}`, onclick: e => e.stopPropagation(), onchange: e => this.more(e.target, c, name) },
      h("option", { value: "" }, "⋯"), h("option", { value: "rename" }, "Rename"), h("option", { value: "delete" }, "Delete"),
      others.map(o => h("option", { value: "into " + o.name }, `Merge into ${o.name}`)))
    return h("div", {
      className: "item", role: "option", "data-id": c.name, onclick: e => { if (e.target.tagName !== "INPUT") this.surface.choose({ active: c.name }) },
    }, color, h("kbd", {}, i < 9 ? `${i + 1}` : ""), name, h("span", { className: "count", title: "strokes" }, `${c.strokes}`), more)
  }

  more(select, c, name) {
    const chosen = select.value
    select.value = ""
    if (chosen === "rename") this.rename(name, c.name)
    else if (chosen === "delete") this.act("delete_class", { class: c.name })
    else if (chosen.startsWith("into ")) this.act("merge_classes", { class: c.name, into: chosen.slice(5) })
  }

  rename(span, old) {
    let over = false // taking the input away is a blur, too
    const done = () => {
      if (over) return
      over = true
      const to = input.value.trim()
      input.replaceWith(span)
      this.classStamp = null
      if (to && to !== old) this.act("rename_class", { class: old, to })
      else this.refreshClasses()
    }
    const input = h("input", { className: "name", value: old, "aria-label": "name", onblur: done, onkeydown: e => { if (e.key === "Enter") done(); if (e.key === "Escape") { input.value = old; done() } } })
    span.replaceWith(input)
    input.focus()
    input.select()
  }

  askOverlap() {
    const names = this.state.classes.map(c => c.name).filter(n => !n.includes("+"))
    const pick = start => h("select", { "aria-label": "phase" }, names.map((n, i) => h("option", { value: n, selected: i === start }, n)))
    const a = pick(0), b = pick(1)
    this.show(h("h3", {}, "A class of pixels that hold both"), h("div", { className: "row" }, a, "+", b,
      h("button", { className: "primary", onclick: () => { this.sheet.hidden = true; if (a.value !== b.value) this.act("add_class", { class: `${a.value}+${b.value}` }) } }, "Add")))
  }

  refreshStrokes() {
    const s = this.state, active = this.shownFor = this.surface.active
    const mine = s.strokes.filter(one => one.class === active || one.class === null)
    const stamp = JSON.stringify([active, mine])
    this.strokeTitle.textContent = active ? `of ${active}` : ""
    if (stamp === this.strokeStamp) return
    this.strokeStamp = stamp
    this.strokeList.replaceChildren(...mine.slice().reverse().map(one => h("div", {
      className: "item", role: "option", "data-id": one.id, onclick: e => this.select(one.id, e.shiftKey || e.ctrlKey),
    }, h("span", { className: "name" }, `${one.number}  ${one.class === null ? "eraser" : one.text}`))))
  }

  select(id, more) {
    const ids = new Set(more ? this.surface.selected : [])
    if (ids.has(id)) ids.delete(id); else ids.add(id)
    this.surface.selected = ids
    this.model.send_msg({ type: "selected", ids: [...ids] })
    this.refreshTools()
    this.surface.redraw()
  }

  deleteSelected() { this.act("delete_strokes", { ids: [...this.surface.selected] }) }

  refreshChoices() {
    const { parameters: p, learnable, learnt } = this.state, stamp = JSON.stringify([p, learnable, learnt])
    if (stamp === this.choiceStamp) return
    this.choiceStamp = stamp
    const set = (parameter, value) => this.act("parameter", { parameter, value })
    const boxes = (all, chosen, parameter) => h("div", { className: "boxes" }, all.map(name => h("label", {}, h("input", {
      type: "checkbox", checked: chosen.includes(name), value: name,
      onchange: e => set(parameter, [...e.target.closest(".boxes").querySelectorAll("input:checked")].map(i => i.value)),
    }), name.replaceAll("_", " "))))
    const number = (name, value, change) => h("label", {}, name, h("input", { type: "text", value, "aria-label": name, onchange: e => change(e.target.value) }))
    const whole = name => text => set(name, Number.isNaN(+text) ? text : +text)
    this.choices.replaceChildren(h("h4", {}, "channels learnt from"), boxes(learnable, learnt, "channels"),
      h("h4", {}, "filters"), boxes([...new Set([...KINDS, ...p.kinds])], p.kinds, "kinds"),
      number("scales", p.scales.join(" "), text => set("scales", text.split(/[\s,;]+/).filter(Boolean).map(Number))),
      number("trees", p.n_trees, whole("n_trees")), number("seed", p.seed, whole("seed")),
      h("label", {}, h("input", { type: "checkbox", checked: p.balanced, onchange: e => set("balanced", e.target.checked) }), "classes count equally"))
  }

  refreshQuality() {
    const { score, importance } = this.state, rows = []
    if (score) {
      rows.push(h("table", {}, h("tr", {}, h("th", {}, "recognised"), h("th", {}, "of strokes")),
        score.map(r => h("tr", {}, h("td", {}, `${r.name} ${(100 * r.recall).toFixed(0)} %`), h("td", {}, `${r.strokes}`)))))
    }
    if (importance.length) {
      rows.push(h("h4", {}, "most used features"), importance.map(f => h("div", { className: "meter", title: f.name },
        h("span", { style: { width: `${100 * f.share / importance[0].share}%` } }), h("b", {}, f.name))))
    }
    this.quality.replaceChildren(...rows.flat())
  }

  // -- sheets over the image --------------------------------------------------------------------

  show(...children) {
    this.sheet.replaceChildren(h("button", { className: "close", "aria-label": "close", onclick: () => { this.sheet.hidden = true } }, "×"), ...children)
    this.sheet.hidden = false
  }

  toggleHelp() {
    if (!this.sheet.hidden && this.sheet.dataset.what === "help") { this.sheet.hidden = true; return }
    this.show(h("h3", {}, "Keys, while the pointer is over the labeller"), h("table", {}, HELP.map(([k, t]) => h("tr", {}, h("td", {}, h("kbd", {}, k)), h("td", {}, t)))))
    this.sheet.dataset.what = "help"
  }

  showScript(text) {
    const area = h("textarea", { readOnly: true, value: text, spellcheck: false, "aria-label": "script" })
    this.show(h("h3", {}, "What was done, as Python"), area, h("button", { onclick: () => { area.select(); document.execCommand("copy") } }, "Copy"))
    this.sheet.dataset.what = "script"
  }

  async upload(input) {
    const file = input.files[0]
    input.value = ""
    if (!file) return
    if (file.size > 24 * 2 ** 20) { this.said.textContent = `${file.name} is larger than 24 MB: load it in Python`; return }
    this.act("load", { name_of_file: file.name, bytes: await file.arrayBuffer() })
  }
}

function put(control, value) {
  const root = control.getRootNode()
  if (root.activeElement !== control || control.tagName === "SELECT") control.value = value
}

export function render({ model }) { return new App(model).root }
