import pino from "pino";
import { MdError } from "../base/md-error.ts";
import type { Clock } from "../env/clock.ts";
import type { LogFields, Logger } from "../env/logger.ts";
import type { LogFormat, LogLevel } from "./config.ts";
import { LogSink } from "./log-sink.ts";
import { redact } from "./redact.ts";
import { timeText } from "./time-text.ts";
import type { TraceTap } from "./trace-tap.ts";

interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly node: string;
  readonly clock: Clock;
  /** Hears trace records, whatever `level` is. */
  readonly tap?: TraceTap;
}

/** One JSON object a line on standard error; on a terminal (or when asked for) the same as readable lines. */
export function createLogger({ level, format, node, clock, tap }: LoggerOptions): Logger {
  const pretty = format === "pretty" || (format === "auto" && process.stderr.isTTY === true);
  const sink = new LogSink((lines) => logger.warn({ evt: "log.lost", lines }, "lines of the log could not be written"));
  const target = pretty ? { write: (line: string) => sink.write(prettyLine(line)) } : sink;
  const options = {
    level,
    base: { node, pid: process.pid },
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const logger = new PinoLogger(pino(options, target), new RepeatLimit(clock), tap ?? null, { node });
  return logger;
}

/** 10:03:20.114 INFO md0 resync 37.5% */
function prettyLine(line: string): string {
  const { time, level, msg, array, err } = JSON.parse(line) as Record<string, unknown>;
  const at = timeText(Number(time)).slice(11, 23);
  const parts = [at, String(level).toUpperCase(), array, msg, typeof err === "string" ? `(${err})` : undefined];
  return `${parts.filter((part) => part !== undefined).join(" ")}\n`;
}

class PinoLogger implements Logger {
  readonly #pino: pino.Logger;
  readonly #limit: RepeatLimit;
  readonly #tap: TraceTap | null;
  /** What every record of this logger has. */
  readonly #base: LogFields;

  constructor(logger: pino.Logger, limit: RepeatLimit, tap: TraceTap | null, base: LogFields) {
    this.#pino = logger;
    this.#limit = limit;
    this.#tap = tap;
    this.#base = base;
  }

  get tracing(): boolean {
    return this.#tap?.isOpen === true || this.#pino.isLevelEnabled("trace");
  }

  trace(fields: LogFields, message: string): void {
    if (this.#tap?.isOpen) this.#tap.tell({ ...this.#base, ...cleaned(fields) });
    if (this.#pino.isLevelEnabled("trace")) this.#pino.trace(cleaned(fields), redact(message));
  }

  debug(fields: LogFields, message: string): void {
    if (this.#pino.isLevelEnabled("debug")) this.#pino.debug(cleaned(fields), redact(message));
  }

  info(fields: LogFields, message: string): void {
    this.#limited("info", fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#limited("warn", fields, message);
  }

  error(fields: LogFields, message: string): void {
    this.#limited("error", fields, message);
  }

  child(fields: LogFields): Logger {
    const clean = cleaned(fields);
    return new PinoLogger(this.#pino.child(clean), this.#limit, this.#tap, { ...this.#base, ...clean });
  }

  #limited(level: "info" | "warn" | "error", fields: LogFields, message: string): void {
    const repeated = this.#limit.admit(`${level} ${message}`);
    if (repeated === null) return;
    this.#pino[level](cleaned(repeated === 0 ? fields : { ...fields, repeated }), redact(message));
  }
}

/** Strings without credentials, errors as one line. */
function cleaned(fields: LogFields): Record<string, unknown> {
  const clean: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    // `node` is who writes the log; whom an event is about is a peer.
    const key = name === "node" ? "peer" : name;
    if (typeof value === "string") clean[key] = redact(value);
    else if (value instanceof MdError) clean[key] = redact(`${value.code}: ${value.message}`);
    else if (value instanceof Error) clean[key] = redact(value.stack ?? value.message);
    else clean[key] = value;
  }
  return clean;
}

const WINDOW_MS = 10_000;
const MOST = 10;
const KEYS = 1000;

/** A record that comes more than 10 times in 10 s becomes one that says how often. */
class RepeatLimit {
  readonly #clock: Clock;
  readonly #seen = new Map<string, { since: number; count: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Null: not now. Else how many were left out since the last one that was let through. */
  admit(key: string): number | null {
    const now = this.#clock.now();
    const seen = this.#seen.get(key);
    if (seen === undefined || now - seen.since >= WINDOW_MS) {
      if (this.#seen.size >= KEYS) this.#seen.clear();
      this.#seen.set(key, { since: now, count: 1 });
      return Math.max(0, (seen?.count ?? 0) - MOST);
    }
    seen.count++;
    return seen.count > MOST ? null : 0;
  }
}
