// What every page does: times by the reader's clock, forms that speak to the API, live values.

import { localTimes } from "./numbers.js";
import * as forms from "./forms.js";
import * as live from "./live.js";

localTimes(document);
document.body.addEventListener("htmx:afterSettle", (event) => localTimes(event.target));
forms.start();
if (document.body.dataset.live) live.start();
