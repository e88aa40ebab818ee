/*
 * Backup proxy 3, second rack. Ask Marta before touching this.
 */

/* where the jobs live */
BACKUPROOT="/srv/vcb";

HOST="vc01.example.com";      // moved from vc00 in spring
// PORT="443";
USERNAME="svc-backup";

// LOGLEVEL="3";
