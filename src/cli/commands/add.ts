import type { Command } from "../command.ts";
import { verbSteps } from "../manage-operations.ts";
import { runSteps } from "./manage-run.ts";

export const add: Command = async (invocation, context) =>
  runSteps(verbSteps("add", invocation.tokens), invocation, context);
