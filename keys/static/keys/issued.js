"use strict";

// The page answers a POST. Reloading it would issue another key, so reloading leads to this one.
const { afterReload } = document.querySelector("[data-after-reload]").dataset;
history.replaceState(null, "", afterReload);
