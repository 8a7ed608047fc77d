import { MdError } from "../base/md-error.ts";
import { readSecretFile } from "../env/secret-file.ts";
import type { AgentOptions } from "../fencing/agent-fencer.ts";
import { parseDuration } from "./parse-duration.ts";

export interface WatchdogConfig {
  readonly device: string;
  /** Milliseconds: what the device must be set to. */
  readonly timeoutMs: number;
}

/** How the nodes make sure that a dead one is dead, beside its lease. */
export interface FenceConfig {
  readonly agent: AgentOptions | null;
  /** A poison pill on the members is a method of its own: counts only with a watchdog. */
  readonly pill: boolean;
  /** SCSI-3 persistent reservations on every member. */
  readonly reservations: boolean;
  readonly watchdog: WatchdogConfig | null;
}

export const noFencing: FenceConfig = { agent: null, pill: false, reservations: false, watchdog: null };

const HINT =
  "--fence='command=/usr/sbin/fence_ipmilan timeout=60s host-map=n1:10.0.0.1;n2:10.0.0.2 pairs=/etc/mdctl/fence'";
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

/**
 * The words of a FENCE line: `command=PATH`, `pill`, `reservations`, `watchdog=DEVICE`, in any combination. The words
 * `timeout= retries= verify= host-map= pairs=` are about the command, `watchdog-timeout=` about the watchdog; any other
 * KEY=VALUE is handed to the command. E_VALUE names the word.
 */
export function readFence(text: string | null): FenceConfig {
  if (text === null) return noFencing;
  const { flags, values, pairs } = splitWords(text);
  const take = (key: string): string | null => {
    const value = values.get(key) ?? null;
    values.delete(key);
    return value;
  };
  const agent = readAgent(take, pairs);
  const watchdog = readWatchdog(take);
  const [stray] = [...values.keys(), ...(agent === null ? pairs.keys() : [])];
  if (stray !== undefined) throw refusal(`"${stray}=" has no meaning here`);
  const config = { agent, pill: flags.has("pill"), reservations: flags.has("reservations"), watchdog };
  if (config.agent === null && !config.pill && !config.reservations) {
    throw refusal("it names no method: command=PATH, pill or reservations");
  }
  return config;
}

const KNOWN = ["command", "timeout", "retries", "verify", "host-map", "pairs", "watchdog", "watchdog-timeout"];

function splitWords(text: string): {
  readonly flags: ReadonlySet<string>;
  readonly values: Map<string, string>;
  readonly pairs: ReadonlyMap<string, string>;
} {
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const pairs = new Map<string, string>();
  for (const [word] of text.matchAll(/(?:"[^"]*"|[^\s"])+/g)) {
    const plain = word.replaceAll('"', "");
    const equals = plain.indexOf("=");
    if (equals === -1) {
      if (plain !== "pill" && plain !== "reservations")
        throw refusal(`"${plain}" is neither pill, reservations nor KEY=VALUE`);
      flags.add(plain);
      continue;
    }
    const key = plain.slice(0, equals);
    const into = KNOWN.includes(key) ? values : pairs;
    if (into.has(key)) throw refusal(`"${key}=" is given twice`);
    if (into === pairs) checkPair(key, plain.slice(equals + 1));
    // On a command line everybody can read them.
    if (into === pairs && /^passw(or)?d$/.test(key)) throw refusal(`"${key}=" belongs into a file: pairs=FILE`);
    into.set(key, plain.slice(equals + 1));
  }
  return { flags, values, pairs };
}

/** Keys that say which node it is about are ours. */
function checkPair(key: string, value: string): void {
  if (!NAME.test(key)) throw refusal(`"${key.slice(0, 70)}" is no name of a key`);
  if (["action", "node", "nodename", "plug", "slot", "generation", "fail_time"].includes(key)) {
    throw refusal(`"${key}=" is set for each call`);
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a line break would be another key
  if (/[\u0000-\u001f\u007f]/.test(value)) throw refusal(`the value of "${key}" has a control character in it`);
}

type Take = (key: string) => string | null;

function readAgent(take: Take, words: ReadonlyMap<string, string>): AgentOptions | null {
  const command = take("command");
  if (command === null) return null;
  const verify = take("verify") ?? "no";
  if (verify !== "yes" && verify !== "no") throw refusal("verify= takes yes or no");
  const timeoutMs = parseDuration("fence", take("timeout") ?? "60s");
  if (timeoutMs < 100 || timeoutMs > 3_600_000) throw refusal("timeout= must be between 100 ms and an hour");
  const retries = take("retries") ?? "1";
  if (!/^\d$/.test(retries)) throw refusal("retries= takes 0 to 9");
  const file = take("pairs");
  const pairs = file === null ? words : new Map([...words, ...readPairs(file)]);
  return {
    command,
    timeoutMs,
    retries: Number(retries),
    verify: verify === "yes",
    plugs: readPlugs(take("host-map")),
    pairs,
  };
}

/** `NODE:PLUG;NODE:PLUG`, as pacemaker's pcmk_host_map. */
function readPlugs(text: string | null): ReadonlyMap<string, string> {
  const plugs = new Map<string, string>();
  for (const entry of (text ?? "").split(";").filter((part) => part !== "")) {
    const colon = entry.indexOf(":");
    const node = entry.slice(0, colon);
    const plug = entry.slice(colon + 1);
    if (colon < 1 || plug === "" || plugs.has(node)) throw refusal(`host-map=: "${entry}" is not NODE:PLUG`);
    plugs.set(node, plug);
  }
  return plugs;
}

function readPairs(file: string): ReadonlyMap<string, string> {
  const pairs = new Map<string, string>();
  for (const line of readSecretFile(file).split("\n")) {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) continue;
    const equals = text.indexOf("=");
    if (equals < 1) throw refusal(`${file}: a line is not KEY=VALUE`);
    checkPair(text.slice(0, equals), text.slice(equals + 1));
    pairs.set(text.slice(0, equals), text.slice(equals + 1));
  }
  return pairs;
}

function readWatchdog(take: Take): WatchdogConfig | null {
  const device = take("watchdog");
  const timeout = take("watchdog-timeout");
  if (device === null && timeout !== null) throw refusal("watchdog-timeout= needs watchdog=DEVICE");
  if (device === null) return null;
  if (!device.startsWith("/")) throw refusal(`watchdog=: ${device} is not an absolute path`);
  const timeoutMs = parseDuration("fence", timeout ?? "10s");
  if (timeoutMs < 1000 || timeoutMs % 1000 !== 0) throw refusal("watchdog-timeout= takes whole seconds");
  return { device, timeoutMs };
}

const refusal = (why: string): MdError => new MdError("E_VALUE", `fence: ${why}`, { hint: HINT });
