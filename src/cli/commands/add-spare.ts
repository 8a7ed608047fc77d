import type { Command } from "../command.ts";
import { verbSteps } from "../manage-operations.ts";
import { runSteps } from "./manage-run.ts";

export const addSpare: Command = async (invocation, context) =>
  runSteps(verbSteps("add-spare", invocation.tokens), invocation, context);
