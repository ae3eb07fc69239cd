"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  dom_id: "#docs",
  // Beside this page, whatever its address begins with.
  url: location.pathname.replace(/\/docs\/*$/, "/openapi.json"),
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // A key that was typed in is gone with the page.
  persistAuthorization: false,
  validatorUrl: null,
});
