import type { Logger } from "../env/logger.ts";
import type { World } from "./world.ts";

/** A node's log lines go into the trace. */
export function simLogger(world: World, life: string): Logger {
  const at =
    (level: string): Logger["info"] =>
    (_fields, text) =>
      world.emit({ type: "log", life, level, text });
  const logger: Logger = {
    tracing: false,
    trace: at("trace"),
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => logger,
  };
  return logger;
}
