import { testShare } from "./seed-range.ts";

testShare(3);
