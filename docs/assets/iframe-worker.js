// Enables the search in pages that are opened as files, where browsers refuse to start the search worker of
// the theme: its script runs in a hidden frame instead. The theme's offline plugin expects this file name.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      const frame = document.body.appendChild(document.createElement("iframe"))
      frame.hidden = true
      const inside = frame.contentWindow
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      this.loaded = new Promise(done => {
        const script = inside.document.createElement("script")
        script.src = address
        script.onload = () => done(inside)
        inside.document.body.appendChild(script)
      })
    }

    postMessage(data) {
      this.loaded.then(inside => inside.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
