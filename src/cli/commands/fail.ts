import type { Command } from "../command.ts";
import { verbSteps } from "../manage-operations.ts";
import { runSteps } from "./manage-run.ts";

export const fail: Command = async (invocation, context) =>
  runSteps(verbSteps("fail", invocation.tokens), invocation, context);
