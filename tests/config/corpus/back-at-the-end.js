HOST="vc.example.com";
BACKUPROOT="/srv/vcb\";
USERNAME="CORP\\";
