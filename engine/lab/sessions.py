"""SessionManager."""
from pyVmomi import vim

from engine.lab.registry import MO


class SessionManager(MO):
    vim = vim.SessionManager

    def Login(self, ctx, userName, password, locale=None):
        lab = self.lab
        if ctx.session is not None:
            raise vim.fault.InvalidLogin(msg="Already logged in")
        if userName not in lab.users or lab.users[userName][0] != password:
            raise vim.fault.InvalidLogin(msg="Cannot complete login due to an incorrect user name or password.")
        ctx.new_session(userName)
        return ctx.session.user_session

    def Logout(self, ctx):
        ctx.session.kill(self.lab)

    def SessionIsActive(self, ctx, sessionID, userName):
        return any(s.key == sessionID for s in self.lab.sessions.values())

    def TerminateSession(self, ctx, sessionId):
        for s in list(self.lab.sessions.values()):
            if s.key in sessionId:
                s.kill(self.lab)
