import { left, shortSize, timeOfDay } from "../text.ts";
import type { DashboardState } from "../view-model.ts";

/** Line 1: the verdict, nodes, lock service, IO, clock. */
export function headerLine(state: DashboardState, columns: number): string {
  const clock = `${timeOfDay(state.now)}  ${state.refreshSeconds}s`;
  const room = columns - clock.length - 2;
  return `${left(headline(state), room)} ${clock} `.slice(0, columns);
}

function headline({ status, rates, retries }: DashboardState): string {
  if (retries !== null) return ` daemon not reachable, retrying (${retries})`;
  if (status === null) return " waiting for the daemon";
  const { name, nodesUp, nodesTotal, lockService, service } = status.cluster;
  if (service.frozen !== null) {
    const { sinceSeconds, writesWait } = service.frozen;
    const writes = writesWait ? "writes wait" : "writes go on under the leases";
    return ` ${name ?? "no cluster"}  ${status.verdict.toUpperCase()}  lock service lost ${sinceSeconds.toFixed(1)}s; ${writes}`;
  }
  let io = 0;
  for (const { read, write } of rates.values()) io += read + write;
  const parts = [
    name ?? "no cluster",
    status.verdict.toUpperCase(),
    `${nodesUp}/${nodesTotal} nodes`,
    `locks ${lockService}${roundTrip(service.roundTripMillis)}`,
    `io ${shortSize(io)}/s`,
  ];
  return ` ${parts.join("  ")}`;
}

/** Line 2, when there is advice: a command that can be copied. */
export function adviceLine({ status }: DashboardState, columns: number): string | null {
  const [first] = status?.advice ?? [];
  if (first === undefined) return null;
  return left(` next: ${first.command === null ? first.text : `${first.text}: ${first.command}`}`, columns);
}

const roundTrip = (ms: number | null): string => (ms === null ? "" : ` ${ms.toFixed(1)}ms`);
