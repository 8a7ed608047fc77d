import { frontEndSuite } from "../conformance/front-end.ts";
import { UblkTestHost } from "../support/ublk-host.ts";

frontEndSuite("ublk", (options) => new UblkTestHost(options));
frontEndSuite("ublk, 4 queues of 8", (options) => new UblkTestHost({ ...options, queues: 4, depth: 8 }));
