import type { Command } from "../command.ts";
import { verbSteps } from "../manage-operations.ts";
import { runSteps } from "./manage-run.ts";

export const remove: Command = async (invocation, context) =>
  runSteps(verbSteps("remove", invocation.tokens), invocation, context);
