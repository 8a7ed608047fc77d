/**
 * `npm run bench -- NAME [--json]`. A bench compares two programs in one run, in turns: absolute figures of a noisy
 * machine mean little. Progress goes to stderr; stdout gets the report and nothing else.
 */
import { type Report, renderReport } from "./report.ts";

const benches: Record<string, () => Promise<{ run(progress: (text: string) => void): Promise<Report> }>> = {
  nbd: () => import("./nbd.ts"),
};

const args = process.argv.slice(2);
const name = args.find((arg) => !arg.startsWith("--"));
const load = name === undefined ? undefined : benches[name];
if (load === undefined) {
  process.stderr.write(`usage: npm run bench -- NAME [--json]\n  NAME: ${Object.keys(benches).join(", ")}\n`);
  process.exit(2);
}
const report = await (await load()).run((text) => process.stderr.write(`${text}\n`));
process.stdout.write(args.includes("--json") ? `${JSON.stringify(report)}\n` : renderReport(report));
