"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    getSelection().selectAllChildren(source);
    // Browsers offer the clipboard API to HTTPS and localhost only.
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(source.textContent);
    } else {
      document.execCommand("copy");
    }
    button.textContent = "Copied";
  });
}
