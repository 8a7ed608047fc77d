export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log, one event a line. Fields as in the command line specification, section 12; `evt` names the event. */
export interface Logger {
  /** Does anybody hear what `trace` is told? What is costly to tell is not put together otherwise. */
  readonly tracing: boolean;
  trace(fields: LogFields, message: string): void;
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  child(fields: LogFields): Logger;
}

export const silentLogger: Logger = {
  tracing: false,
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};
