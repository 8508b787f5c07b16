// A page that loses its connection comes back by itself: it says so, waits for the server, and
// connects anew. BokehJS keeps the first half of a message that broke off, and takes all that comes
// later for its rest; so each new connection gets a new receiver here. If that does not help, or the
// page was not there yet, it is loaded again: what was done is kept by the server.
(() => {
  const WAITS_MS = [0, 500, 1000, 2000, 4000], ANSWER_MS = 60000, MOST_FAILURES = 3, EARLY_MS = 5000, STROKE_MS = 15000
  const LOST = "Connection lost, reconnecting …"
  const REFUSED = "The server was started anew: open the address that it has printed. This page then goes on."
  const watched = new WeakSet(), sockets = new Set(), pressed = new Set()
  let reconnecting = false, leaving = false, banner = null

  const Plain = window.WebSocket
  window.WebSocket = class extends Plain {
    close(code, reason) { // BokehJS closes with 1002, which browsers refuse: it would stay open
      if (code === undefined || code === 1000 || code >= 3000) super.close(code, reason)
      else super.close()
    }

    constructor(...given) {
      super(...given)
      sockets.add(this)
      this.addEventListener("message", watch)
      this.addEventListener("close", () => {
        sockets.delete(this)
        watch()
        if (!documents().length) begin(null)
      })
    }
  }
  for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) addEventListener(name, pointed, true)
  addEventListener("beforeunload", () => { leaving = true })
  addEventListener("pageshow", e => { if (e.persisted) location.reload() })
  // `renew` is for a surface whose server is silent although the socket is open; `early` are the
  // events of the hand since the page was built anew: the new surface takes them once it is there
  window.edsConnection = { renewed: 0, renew: () => sockets.forEach(s => s.close()), early: null }

  const documents = () => (window.Bokeh && Bokeh.documents) || []
  const pause = ms => new Promise(done => setTimeout(done, ms))

  function pointed(e) {
    if (e.type === "pointerdown") pressed.add(e.pointerId)
    else if (e.type !== "pointermove" || !e.buttons) pressed.delete(e.pointerId)
    if (window.edsConnection.early) window.edsConnection.early.push(e)
  }

  function watch() {
    for (const one of documents()) {
      if (watched.has(one)) continue
      watched.add(one)
      one.on_event("connection_lost", (_, event) => begin(event.connection.deref()))
    }
  }

  async function begin(connection) {
    if (reconnecting || leaving) return
    reconnecting = true
    say(LOST)
    for (let failures = 0; ; failures++) {
      await answered()
      if (!connection || failures >= MOST_FAILURES) return location.reload()
      const typed = typedText()
      try {
        await connected(connection)
        putBack(typed)
        break
      } catch (error) { await pause(WAITS_MS[1]) }
    }
    reconnecting = false
    window.edsConnection.renewed += 1
    say("")
  }

  // Return when the server answers; a question that opens no page of its own.
  async function answered() {
    for (let tries = 0; ; tries++) {
      await pause(WAITS_MS[Math.min(tries, WAITS_MS.length - 1)])
      try {
        const address = location.pathname.replace(/\/*$/, "/metadata")
        const reply = await fetch(address, { cache: "no-store", credentials: "same-origin" })
        if (reply.ok) return
        say(reply.status === 403 ? REFUSED : LOST)
      } catch (error) { say(LOST) }
    }
  }

  async function connected(connection) {
    const { session } = connection, page = session.document, later = []
    let arrays, pulled = false
    connection._receiver = new connection._receiver.constructor()
    // what comes before the whole page is part of it, what comes after it waits for it
    session.handle = message => { if (pulled) later.push(message) }
    connection._pull_doc_json = async () => {
      const found = await Object.getPrototypeOf(connection)._pull_doc_json.call(connection)
      arrays = found.buffers
      pulled = true
      // no canvas is taken from under a hand that draws
      for (const since = Date.now(); pressed.size && Date.now() - since < STROKE_MS;) await pause(20)
      return found
    }
    // BokehJS builds the page anew without its arrays, fails where there are any, and sends the
    // server its own page back
    page.replace_with_json = json => {
      page.remove_on_change(session._document_listener)
      page.constructor.from_json(json, [], arrays).destructively_move(page)
      page._new_models.clear()
      page.on_change(session._document_listener, true)
      window.edsConnection.early = []
    }
    const late = setTimeout(() => connection.socket && connection.socket.close(), ANSWER_MS)
    try { await connection.connect() }
    finally {
      clearTimeout(late)
      delete session.handle
      delete connection._pull_doc_json
      delete page.replace_with_json
    }
    for (const message of later) session.handle(message)
    const { early } = window.edsConnection
    setTimeout(() => { if (window.edsConnection.early === early) window.edsConnection.early = null }, EARLY_MS)
  }

  // -- a text that is being typed outlives the new page ------------------------------------------

  const TEXTS = "textarea, input:not([type]), input[type=text], input[type=number]"

  function inputs(root = document) {
    const inner = [...root.querySelectorAll("*")].filter(e => e.shadowRoot)
    return [...root.querySelectorAll(TEXTS), ...inner.flatMap(e => inputs(e.shadowRoot))]
  }

  function focused() {
    let e = document.activeElement
    while (e && e.shadowRoot && e.shadowRoot.activeElement) e = e.shadowRoot.activeElement
    return e
  }

  function typedText() {
    const e = focused(), at = inputs().indexOf(e)
    if (at < 0) return null
    return { at, of: inputs().length, value: e.value, start: e.selectionStart, end: e.selectionEnd }
  }

  async function putBack(typed) {
    if (!typed) return
    const at = focused()
    for (let tries = 0; inputs().length < typed.of && tries < 100; tries++) await pause(50)
    const e = inputs()[typed.at]
    if (!e || focused() !== at) return // the user is elsewhere by now
    e.focus({ preventScroll: true })
    e.value = typed.value
    if (typed.start !== null) e.setSelectionRange(typed.start, typed.end)
    e.dispatchEvent(new Event("input", { bubbles: true }))
    // the browser tells a change only of what is typed into this very element
    const tell = event => {
      if (event.type === "keydown" && event.key !== "Enter") return
      for (const name of ["keydown", "blur"]) e.removeEventListener(name, tell)
      e.dispatchEvent(new Event("change", { bubbles: true }))
    }
    for (const name of ["keydown", "blur"]) e.addEventListener(name, tell)
  }

  function say(text) {
    if (!banner) {
      banner = document.createElement("div")
      banner.className = "eds-connection"
      banner.setAttribute("role", "status")
      Object.assign(banner.style, {
        position: "fixed", top: "8px", left: "50%", transform: "translateX(-50%)", zIndex: 10000,
        padding: "6px 14px", borderRadius: "4px", background: "#b3261e", color: "#fff",
        font: "13px/1.4 system-ui, sans-serif", boxShadow: "0 2px 12px rgba(0, 0, 0, 0.35)",
        pointerEvents: "none",
      })
    }
    banner.textContent = text
    if (text) (document.body || document.documentElement).append(banner)
    else banner.remove()
  }
})()
