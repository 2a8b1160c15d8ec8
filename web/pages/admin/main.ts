// Starts the admin page. A token in the address is taken out of it before anything else can read it.
import { h, render } from "preact";

import "uplot/dist/uPlot.min.css";
import "../shared/tokens.css";
import "./admin.css";
import { App } from "./app.js";
import { tokenOf } from "./lib/route.js";
import { resume } from "./link.js";

const token = tokenOf(location.hash);
if (token !== undefined) history.replaceState(null, "", location.pathname + location.search);

const root = document.getElementById("app");
if (root === null) throw new Error("the page has no #app");
void resume();
render(h(App, { offered: { token } }), root);
