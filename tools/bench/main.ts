/**
 * `npm run bench -- NAME [--json] [FLAGS]`. A bench compares two programs in one run, in turns: absolute figures of a noisy
 * machine mean little. Progress goes to stderr; stdout gets the report and nothing else.
 */
import { type Report, renderReport } from "./report.ts";

interface Bench {
  /** `flags`: what was given beside the name and --json. */
  run(progress: (text: string) => void, flags: readonly string[]): Promise<Report>;
}

const benches: Record<string, () => Promise<Bench>> = {
  nbd: () => import("./nbd.ts"),
  dlm: () => import("./dlm.ts"),
  resync: () => import("./resync.ts"),
  failover: () => import("./failover.ts"),
  reads: () => import("./reads.ts"),
};

const args = process.argv.slice(2);
const name = args.find((arg) => !arg.startsWith("--"));
const load = name === undefined ? undefined : benches[name];
if (load === undefined) {
  process.stderr.write(`usage: npm run bench -- NAME [--json] [FLAGS]\n  NAME: ${Object.keys(benches).join(", ")}\n`);
  process.exit(2);
}
const flags = args.filter((arg) => arg !== name && arg !== "--json");
const report = await (await load()).run((text) => process.stderr.write(`${text}\n`), flags);
process.stdout.write(args.includes("--json") ? `${JSON.stringify(report)}\n` : renderReport(report));
