HOST="vc.example.com”;
USERNAME=“backup";
BACKUPROOT="/srv/vcb”; // the "old" place
EXCLUDE_DISKS="Marta’s disk";
LOGLEVEL=3;
