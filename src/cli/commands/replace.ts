import type { Command } from "../command.ts";
import { verbSteps } from "../manage-operations.ts";
import { runSteps } from "./manage-run.ts";

export const replace: Command = async (invocation, context) =>
  runSteps(verbSteps("replace", invocation.tokens), invocation, context);
