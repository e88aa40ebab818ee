"""AuthorizationManager."""
from pyVmomi import VmomiSupport as VS, vim

from engine.lab.registry import MO

ALL_PRIVS = {i[5] for d in VS._managedDefMap.values() for i in d[5] or () if i[5]} | {"System.View", "System.Read", "System.Anonymous"}


class AuthorizationManager(MO):
    vim = vim.AuthorizationManager

    def FetchUserPrivilegeOnEntities(self, ctx, entities, userName):
        return [vim.AuthorizationManager.UserPrivilegeResult(entity=e, privileges=sorted(self.lab.privileges(userName))) for e in entities]

    def HasPrivilegeOnEntities(self, ctx, entity, sessionId, privId):
        have = self.lab.privileges(ctx.session.user)
        return [vim.AuthorizationManager.EntityPrivilege(entity=e, privAvailability=[vim.AuthorizationManager.PrivilegeAvailability(privId=p, isGranted=p in have) for p in privId]) for e in entity]
