-- How our resources stand, for Argo CD: see docs/install.md. Of a spec that no operator has looked at, nothing is known yet.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "No operator has looked at this spec yet"}
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local ready = found.Ready
if ready == nil then
  return {status = "Progressing", message = "No operator has looked at it yet"}
end
local health = "Progressing"
if ready.status == "True" then
  health = "Healthy"
elseif found.Stalled ~= nil and found.Stalled.status == "True" then
  health = "Degraded"
elseif ready.reason == "Suspended" then
  health = "Suspended"
end
return {status = health, message = ready.message}
