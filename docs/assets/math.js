// Renders the TeX equations of a page with the copy of KaTeX in this folder.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const tex = element.textContent.trim() // \(...\) or \[...\]
    const options = { displayMode: tex.startsWith("\\["), throwOnError: false }
    katex.render(tex.slice(2, -2), element, options)
  }
})
