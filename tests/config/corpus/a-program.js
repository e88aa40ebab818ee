var root = "/srv";
HOST = "vc" + ".example.com";
BACKUPROOT = root;
if (true) { LOGLEVEL = 6; }
USERNAME = require("os").userInfo().username;
EXCLUDE_DISKS = ["scsi0:1", "scsi0:2"];
module.exports = { HOST: "x" };
MAX_RETRIES = 3;
