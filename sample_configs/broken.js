/* A config.js with a mistake on most lines; every one is reported, none hides the next. */
BACKUPROOT="c:\mnt";
HOST="https://vcenter.example.com/sdk";
PORT="443;
USERNAME=vcb;
TRANSPORTMODE="nbdssl";
LOGLEVEL="7";
SNAPSHOT_POLICY="automatic" + "";
MAX_RETRIES="3";
